"""The only place with MQTT topic strings: the contract's topics, built from checked parts.

What a peer sent never reaches a topic unless it is a slug, so no topic holds a wildcard, a NUL or
white space, whatever a radio says.
"""

import re
from typing import NewType

from gateway.model.identity import SLUG, RadioId, UnitId, parse_radio_id

Owner = NewType("Owner", str)  # "unit/<unit_id>" or "radio/<radio_id with ':' as '-'>"

MOST_TOPIC = 200  # characters of a topic that somebody else chose

_BASE = re.compile(r"[^\s#+\0/$][^\s#+\0/]*(/[^\s#+\0/]+)*\Z")
_WORD = re.compile(r"[a-z_]{1,32}\Z")
_VERB = re.compile(r"[a-z]{1,16}(/[a-z]{1,16})?\Z")


def default_base(site: str) -> str:
    """The base topic of a site where the settings name none."""
    return f"pdt/v1/{_slug(site, 'site')}"


def owner_of(unit_id: UnitId | None, radio_id: RadioId) -> Owner:
    """Under whom something is published: the unit, or the radio while it belongs to none.

    Raises ValueError for an id that is not safe in a topic.
    """
    if unit_id is not None:
        return Owner(f"unit/{_slug(unit_id, 'unit id')}")
    return Owner(f"radio/{parse_radio_id(radio_id).replace(':', '-', 1)}")


def owntracks(team: str, unit_id: UnitId) -> str:
    """Where the mirror for OwnTracks has a unit's place."""
    return f"owntracks/{_slug(team, 'team')}/{_slug(unit_id, 'unit id')}"


def owntracks_event(team: str, unit_id: UnitId) -> str:
    """Where it tells that the unit came to a key site or left it."""
    return f"{owntracks(team, unit_id)}/event"


def home_assistant(component: str, site: str, unit_id: str) -> str:
    """Where Home Assistant is told of one entity of a unit."""
    object_id = f"{_slug(site, 'site')}/{_slug(unit_id, 'unit id')}"
    return f"homeassistant/{component}/pdt_{object_id}/config"


class Topics:
    """The topics under one base; every method raises ValueError for a part that is not safe."""

    def __init__(self, base: str) -> None:
        if not _BASE.match(base) or not base.isprintable():
            raise ValueError(
                f"base topic {base!r} has an empty level, '#', '+', white space or a leading '$'; "
                "write it like 'pdt/v1/town'"
            )
        self.base = base
        self.gateway_state = f"{base}/gateway/state"
        self.gateway_info = f"{base}/gateway/info"
        self.gateway_health = f"{base}/gateway/health"
        self.requests = f"{base}/request/#"  # what the gateway subscribes to

    def link_state(self, link_id: str) -> str:
        """The retained state of one link."""
        return f"{self.base}/link/{_slug(link_id, 'link id')}/state"

    def fix(self, owner: Owner) -> str:
        """The retained newest ``position_fix``."""
        return f"{self.base}/{owner}/fix"

    def status(self, owner: Owner) -> str:
        """The retained state: fresh fix, old fix, no fix, silent, off."""
        return f"{self.base}/{owner}/status"

    def emergency(self, owner: Owner) -> str:
        """The retained state of the open emergency; empty while there is none."""
        return f"{self.base}/{owner}/emergency"

    def event(self, kind: str) -> str:
        """The stream of one type of event, not retained."""
        if not _WORD.match(kind):
            raise ValueError(f"event type {kind!r} is not a word")
        return f"{self.base}/event/{kind}"

    def request(self, verb: str) -> str:
        """Where the desk asks for something."""
        return f"{self.base}/request/{_verb(verb)}"

    def response(self, verb: str) -> str:
        """Where the gateway answers."""
        return f"{self.base}/response/{_verb(verb)}"

    def verb(self, topic: str) -> str | None:
        """The verb of a request's topic; None where it has no form that could be answered."""
        verb = topic.removeprefix(f"{self.base}/request/")
        return verb if _VERB.match(verb) else None

    def response_chosen(self, topic: str) -> str:
        """A topic that a requester wants its answer on: one below ``response/`` and no other.

        The gateway may write everywhere below the base. If it wrote answers wherever it is asked
        to, who may only ask could put them where positions and emergencies are read.
        """
        branch = f"{self.base}/response/"
        is_fit = _BASE.match(topic) and topic.isprintable() and len(topic) <= MOST_TOPIC
        if not is_fit or not topic.startswith(branch):
            raise ValueError(f"response topic {topic[:80]!r} is not below {branch!r}")
        return topic


def _slug(text: str, what: str) -> str:
    if not SLUG.match(text):
        raise ValueError(f"{what} {text!r} is not 1 to 64 letters, digits, '-' or '_'")
    return text


def _verb(verb: str) -> str:
    if not _VERB.match(verb):
        raise ValueError(f"verb {verb!r} is not one or two lower-case words")
    return verb
