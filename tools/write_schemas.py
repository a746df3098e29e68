"""Write the JSON Schema of every payload into ``docs/schema/``, from the structs themselves.

    python -m tools.write_schemas            write them
    python -m tools.write_schemas --check    exit code 1 where a file is not what would be written

What a payload always has is required; what may be absent is never null. Further fields may come in
a later version, so none is forbidden, but in requests, which are read strictly.
"""

import argparse
import inspect
import json
import re
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as shapes

from gateway.model.emergency import Emergency
from gateway.model.events import AnyEvent, CommandEnded, CommandQueued, Event, LinkChanged
from gateway.model.identity import SPACES
from gateway.model.quantities import Instant
from gateway.model.requests import Request, Response
from gateway.runtime.facts import GatewayInfo
from gateway.runtime.health import Health
from gateway.sinks.mqtt_owntracks import Location, Transition
from gateway.sinks.mqtt_state import GatewayState, LinkStatus, UnitStatus

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = "v1"  # as in the topics

STATES: Mapping[str, type[msgspec.Struct]] = {
    "emergency": Emergency,
    "unit_status": UnitStatus,
    "link_state": LinkStatus,
    "gateway_state": GatewayState,
    "gateway_info": GatewayInfo,
    "gateway_health": Health,
    "request": Request,
    "response": Response,
    "owntracks_location": Location,
    "owntracks_transition": Transition,
}

# The pipeline fills these in every event, though a driver leaves them empty.
HEADER = frozenset({"event_id", "site", "link_id", "driver", "radio_id", "received_at"})

# A command knows no link before it goes out over one, and may end without.
ABSENT: Mapping[type[msgspec.Struct], frozenset[str]] = {
    LinkChanged: frozenset({"radio_id"}),
    CommandQueued: frozenset({"link_id", "driver"}),
    CommandEnded: frozenset({"link_id", "driver"}),
}

SLUG = "^[A-Za-z0-9_-]{1,64}$"
RADIO = f"^({'|'.join(sorted(SPACES))}):[A-Za-z0-9_-]{{1,64}}$"
PATTERNS: Mapping[str, str] = {
    "event_id": "^[0-9a-f]{32}$",
    "emergency_id": "^[0-9a-f]{32}$",
    "command_id": "^[0-9a-f]{32}$",
    "site": SLUG,
    "link_id": SLUG,
    "unit_id": SLUG,
    "team": SLUG,
    "radio_id": RADIO,
}


def main() -> int:
    """Write or check the files; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    is_check = parser.parse_args().check
    wanted = contents()
    stale = sorted(
        [f for f, text in wanted.items() if not f.exists() or f.read_text("utf-8") != text]
        + [f for f in FOLDER.glob("*.json") if f not in wanted]
    )
    if not is_check:
        FOLDER.mkdir(exist_ok=True)
        for file in stale:
            if file in wanted:
                file.write_text(wanted[file], encoding="utf-8")
            else:
                file.unlink()
    if stale:
        names = ", ".join(file.name for file in stale)
        print(f"{'not up to date' if is_check else 'written'}: {names}")
    return 1 if is_check and stale else 0


def contents() -> dict[Path, str]:
    """The files and what belongs into them."""
    return {
        FOLDER / f"{name}.json": json.dumps(schema(name, kind), indent=2, ensure_ascii=False) + "\n"
        for name, kind in payloads().items()
    }


def payloads() -> dict[str, type[msgspec.Struct]]:
    """Every payload by its name: the events by their type, then the states."""
    events = {str(kind.__struct_config__.tag): kind for kind in typing.get_args(AnyEvent)}
    return {**events, **STATES}


def schema(name: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of one payload."""
    parts: dict[str, dict[str, Any]] = {}
    body = _struct(kind, parts)
    written = {"$schema": DIALECT, "$id": f"urn:pdt:{VERSION}:{name}", "title": name, **body}
    return {**written, "$defs": parts} if parts else written


def _struct(kind: type[msgspec.Struct], parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    config = kind.__struct_config__
    properties: dict[str, Any] = {}
    required: list[str] = []
    if config.tag is not None and config.tag_field is not None:
        properties[config.tag_field] = {"const": config.tag}
        required.append(config.tag_field)
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)  # noqa: S101 - of a struct it is one
    for field in shape.fields:
        properties[field.encode_name] = _field(field, parts)
        if _is_always_there(kind, field):
            required.append(field.encode_name)
    text = re.sub(r"\s+", " ", inspect.getdoc(kind) or "").replace("``", "")
    written = {
        "description": text,
        "type": "object",
        "properties": properties,
        "required": required,
    }
    return {**written, "additionalProperties": False} if config.forbid_unknown_fields else written


def _is_always_there(kind: type[msgspec.Struct], field: shapes.Field) -> bool:
    if field.required or not kind.__struct_config__.omit_defaults:
        return True
    if not issubclass(kind, Event) or field.name not in HEADER:
        return False
    return field.name not in ABSENT.get(kind, ())


def _field(field: shapes.Field, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    written = _type(field.type, parts)
    if field.name in PATTERNS and written.get("type") == "string":
        written["pattern"] = PATTERNS[field.name]
    if isinstance(field.default, int | float) and not isinstance(field.default, Instant):
        written["default"] = field.default
    return written


PLAIN: Mapping[type[shapes.Type], str] = {
    shapes.StrType: "string",
    shapes.BoolType: "boolean",
    shapes.IntType: "integer",
    shapes.FloatType: "number",
}


def _type(shape: shapes.Type, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One type; an optional one is what it is when it is there."""
    if type(shape) in PLAIN:
        return {"type": PLAIN[type(shape)]}
    if isinstance(shape, shapes.UnionType):
        kinds = [each for each in shape.types if not isinstance(each, shapes.NoneType)]
        if len(kinds) == 1:
            return _type(kinds[0], parts)
        return {"type": [PLAIN[type(each)] for each in kinds]}
    if isinstance(shape, shapes.StructType):
        name = shape.cls.__name__
        if name not in parts:
            parts[name] = _struct(shape.cls, parts)
        return {"$ref": f"#/$defs/{name}"}
    return _other_type(shape, parts)


def _other_type(shape: shapes.Type, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    match shape:
        case shapes.CustomType(cls=cls) if cls is Instant:
            return {"type": "string", "format": "date-time", "pattern": "Z$"}
        case shapes.LiteralType(values=values):
            return {"enum": list(values)}
        case shapes.ListType(item_type=item):
            return {"type": "array", "items": _type(item, parts)}
        case shapes.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _type(value, parts)}
        case shapes.AnyType():
            return {}
    raise NotImplementedError(f"{shape!r} has no place in a payload")


if __name__ == "__main__":
    sys.exit(main())
