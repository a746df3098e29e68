"""The peers of a link by the host they come from, so that one host cannot keep the others out."""

from collections import OrderedDict
from typing import Generic, TypeVar

Member = TypeVar("Member")


class Crowd(Generic[Member]):
    """Who is there, whom of them to part with first; every answer takes the same short time.

    Hosts stand by the number of their members, and in each place the one heard longest ago first.
    """

    def __init__(self) -> None:
        self._members: dict[str, OrderedDict[Member, None]] = {}  # longest idle first
        self._hosts: dict[int, OrderedDict[str, None]] = {}  # by the number of their members
        self._most = 0  # members of the greediest host
        self._all = 0  # members

    def __len__(self) -> int:
        return self._all

    def of(self, host: str) -> int:
        """How many members come from ``host``."""
        return len(self._members.get(host, ()))

    def came(self, host: str, member: Member) -> None:
        """A member that was not there before."""
        members = self._members.setdefault(host, OrderedDict())
        members[member] = None
        self._move(host, len(members) - 1, len(members))

    def heard(self, host: str, member: Member) -> None:
        """A member that is there has spoken."""
        members = self._members[host]
        members.move_to_end(member)
        self._hosts[len(members)].move_to_end(host)

    def left(self, host: str, member: Member) -> bool:
        """A member is there no more; False, and nothing done, where it has left before."""
        members = self._members.get(host, OrderedDict())
        if member not in members:
            return False
        del members[member]
        if not members:
            del self._members[host]
        self._move(host, len(members) + 1, len(members))
        return True

    def most(self) -> int:
        """How many members come from the host that has most; 0 where nobody is there."""
        return self._most

    def first_to_go(self) -> Member:
        """Of the host that has most members, the one heard longest ago; somebody must be there."""
        greediest = next(iter(self._hosts[self._most]))
        return next(iter(self._members[greediest]))

    def _move(self, host: str, before: int, after: int) -> None:
        """``host`` has one member more, or one less."""
        self._all += after - before
        if before:
            del self._hosts[before][host]
            if not self._hosts[before]:
                del self._hosts[before]
        if after:
            self._hosts.setdefault(after, OrderedDict())[host] = None
        if after > self._most or self._most not in self._hosts:
            self._most = after
