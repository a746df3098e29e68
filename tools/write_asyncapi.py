"""Write ``docs/asyncapi.json``: every topic with its payload, quality of service and direction.

    python -m tools.write_asyncapi            write it
    python -m tools.write_asyncapi --check    exit code 1 where it is not what would be written

AsyncAPI 3.0, seen from the gateway: it sends what others read, and receives what they ask. Topics
come from ``gateway/sinks/topics.py``, payloads from the structs, so neither can differ from them.
"""

import argparse
import json
import sys
import typing
from pathlib import Path
from typing import Any

import gateway
from gateway.model.events import AnyEvent, PositionFix
from gateway.model.identity import UnitId
from gateway.model.requests import Verb
from gateway.sinks.topics import Owner, Topics, default_base, owntracks, owntracks_event
from tools.write_schemas import payloads, schema

FILE = Path(__file__).resolve().parent.parent / "docs" / "asyncapi.json"
RETAINED, PASSING = True, False
BINDING = "0.2.0"  # of the MQTT binding
SITE, UNIT, RADIO, LINK, TEAM = "SITE", "UNIT", "RADIO", "LINK", "TEAM"
PARAMETERS = {
    SITE: ("site", "the site id of the settings"),
    UNIT: ("unit_id", "a unit of the units file"),
    RADIO: ("radio_id", "a radio without a unit, with '-' in the place of ':'"),
    LINK: ("link_id", "a link of the settings"),
    TEAM: ("team", "the unit's team, or the site where it has none"),
}
TOPICS = Topics(default_base(SITE))
EVENTS = {
    str(kind.__struct_config__.tag) for kind in typing.get_args(AnyEvent) if kind is not PositionFix
}
VERBS: tuple[str, ...] = typing.get_args(Verb)


class Sent(typing.NamedTuple):
    """One channel that the gateway writes."""

    name: str
    topic: str
    payload: str
    retain: bool
    summary: str
    qos: int = 1


def sent() -> list[Sent]:
    """Everything that the gateway publishes, but responses."""
    channels = [
        Sent("gateway_state", TOPICS.gateway_state, "gateway_state", RETAINED, "the will: offline"),
        Sent("gateway_info", TOPICS.gateway_info, "gateway_info", RETAINED, "after each connect"),
        Sent("gateway_health", TOPICS.gateway_health, "gateway_health", PASSING, "every 10 s"),
        Sent("link_state", TOPICS.link_state(LINK), "link_state", RETAINED, "when it changes"),
    ]
    for kind, owner in (("unit", Owner(f"unit/{UNIT}")), ("radio", Owner(f"radio/{RADIO}"))):
        channels += [
            Sent(f"{kind}_fix", TOPICS.fix(owner), "position_fix", RETAINED,
                 "the newest; QoS 0 with mqtt.fix_qos = 0"),
            Sent(f"{kind}_status", TOPICS.status(owner), "unit_status", RETAINED,
                 "when it changes"),
            Sent(f"{kind}_emergency", TOPICS.emergency(owner), "emergency", RETAINED,
                 "while one is open; an empty payload clears it"),
        ]  # fmt: skip
    channels += [
        Sent(f"event_{name}", TOPICS.event(name), name, PASSING, "once; again after a lost receipt")
        for name in sorted(EVENTS)
    ]
    own = owntracks(TEAM, UnitId(UNIT)), owntracks_event(TEAM, UnitId(UNIT))
    return [
        *channels,
        Sent("owntracks_location", own[0], "owntracks_location", RETAINED, "with mqtt.owntracks"),
        Sent(
            "owntracks_transition", own[1], "owntracks_transition", PASSING, "with mqtt.owntracks"
        ),
    ]


def document() -> dict[str, Any]:
    """The whole document."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for each in sent():
        channels[each.name] = channel(each.topic, each.payload)
        operations[f"send_{each.name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{each.name}"},
            "summary": each.summary,
            "bindings": binding(each.qos, is_retained=each.retain),
        }
    for verb in VERBS:
        name = verb.replace("/", "_")
        ask, answer = f"request_{name}", f"response_{name}"
        channels[ask] = channel(TOPICS.request(verb), "request")
        channels[answer] = channel(TOPICS.response(verb), "response")
        operations[f"receive_{ask}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{ask}"},
            "summary": "off until it is named in mqtt.requests; docs/mqtt.md",
            "bindings": binding(1, is_retained=False),
            "reply": {"channel": {"$ref": f"#/channels/{answer}"}},
        }
    names = list(payloads())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "PDT radio gateway",
            "version": gateway.__version__,
            "description": "What the gateway publishes, and what it can be asked. Seen from it.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {name: message(name) for name in names},
            "schemas": schemas(names),
        },
    }


def channel(topic: str, payload: str) -> dict[str, Any]:
    """A topic with its parameters and its one message."""
    parameters = {}
    for mark, (name, text) in PARAMETERS.items():
        if mark in topic.split("/"):
            topic = topic.replace(mark, f"{{{name}}}")
            parameters[name] = {"description": text}
    return {
        "address": topic,
        "messages": {payload: {"$ref": f"#/components/messages/{payload}"}},
        "parameters": parameters,
    }


def binding(qos: int, *, is_retained: bool) -> dict[str, Any]:
    """How MQTT carries it."""
    return {"mqtt": {"qos": qos, "retain": is_retained, "bindingVersion": BINDING}}


def message(name: str) -> dict[str, Any]:
    """One payload as a message."""
    written: dict[str, Any] = {
        "name": name,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    if name in {"request", "response"}:
        written["correlationId"] = {"location": "$message.payload#/transaction"}
    return written


def schemas(names: list[str]) -> dict[str, Any]:
    """Every payload's schema, and the parts they share, side by side."""
    found: dict[str, Any] = {}
    for name in names:
        text = json.dumps(schema(name, payloads()[name]))
        whole = json.loads(text.replace("#/$defs/", "#/components/schemas/"))
        for key in ("$schema", "$id"):
            del whole[key]
        found |= whole.pop("$defs", {})
        found[name] = whole
    return found


def content() -> str:
    """What belongs into the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or check the file; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    is_check = parser.parse_args().check
    wanted = content()
    if FILE.exists() and FILE.read_text(encoding="utf-8") == wanted:
        return 0
    if is_check:
        print(f"{FILE.name}: not up to date")
        return 1
    FILE.write_text(wanted, encoding="utf-8")
    print(f"{FILE.name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
