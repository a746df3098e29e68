"""Through which peer a radio can be reached: the one that heard it last.

A radio may be heard through several links at once (a registration service and a location service,
two base stations), so the last few are kept, newest first.
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
        return [each for each in self._routes.get(radio_id, ()) if not each.is_lost]
