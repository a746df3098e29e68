"""Through which peer a radio can be reached: the one that heard it last.

A radio may be heard through several links at once (a registration service and a location service,
two base stations), so the last few are kept, newest first. Where a peer has a port for each
service, its other ports come after those on which the radio was heard.
"""

from typing import Protocol

from drivers.api import Command, Verb
from gateway.model.identity import RadioId

MOST_RADIOS = 20_000  # the one met first is forgotten first; it is known again when it is heard
MOST_ROUTES = 4  # peers of one radio


class Route(Protocol):
    """A peer that may carry a command; see ``Session``."""

    @property
    def link_id(self) -> str:
        """Of its link."""
        ...

    @property
    def driver_name(self) -> str:
        """Of its link."""
        ...

    @property
    def port_of(self) -> str:
        """The peer that this is one port of; empty where it is all there is of it."""
        ...

    @property
    def is_lost(self) -> bool:
        """True once the peer is gone."""
        ...

    def takes(self, verb: Verb) -> bool:
        """Whether a radio behind this peer can be asked that."""
        ...

    def send(self, command: Command) -> None:
        """Ask."""
        ...


class Reach:
    """Who heard which radio; see the module's docstring."""

    def __init__(self) -> None:
        self._routes: dict[RadioId, list[Route]] = {}
        self._ports: dict[str, list[Route]] = {}  # as many as there are peers

    def met(self, route: Route) -> None:
        """A peer is there, or one port of it."""
        if route.port_of:
            self._ports.setdefault(route.port_of, []).append(route)

    def gone(self, route: Route) -> None:
        """A peer, or one port of it, is there no more."""
        ports = [each for each in self._ports.pop(route.port_of, ()) if each is not route]
        if ports:
            self._ports[route.port_of] = ports

    def heard(self, radio_id: RadioId, route: Route) -> None:
        """``radio_id`` was heard through ``route``."""
        routes = self._routes.get(radio_id)
        if routes is None:
            if len(self._routes) >= MOST_RADIOS:
                del self._routes[next(iter(self._routes))]
            self._routes[radio_id] = [route]
        elif routes[0] is not route:
            others = [each for each in routes if each is not route and not each.is_lost]
            self._routes[radio_id] = [route, *others][:MOST_ROUTES]

    def left(self, radio_id: RadioId) -> None:
        """It said good-bye: it is away until it is heard again."""
        self._routes.pop(radio_id, None)

    def routes(self, radio_id: RadioId) -> list[Route]:
        """Where it can be reached now, newest first; empty while it is away."""
        heard = [each for each in self._routes.get(radio_id, ()) if not each.is_lost]
        peers = dict.fromkeys(each.port_of for each in heard)
        others = (each for peer in peers for each in self._ports.get(peer, ()))
        return heard + [each for each in others if not each.is_lost and each not in heard]
