"""As much of JSON Schema as tools/write_schemas.py writes: enough to check a payload against it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

KINDS: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}
KNOWN = {
    "$schema", "$id", "$defs", "$ref", "title", "description", "default", "format",
    "type", "const", "enum", "pattern", "items", "properties", "required", "additionalProperties",
}  # fmt: skip


def faults(value: Any, schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit, each with its place; nothing where all fits."""
    unknown = set(schema) - KNOWN
    assert not unknown, f"this checker does not know {unknown}"
    if "$ref" in schema:
        yield from faults(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
        return
    if "const" in schema and value != schema["const"]:
        yield f"{value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{value!r} is not one of {schema['enum']}"
    if "type" in schema and not any(_is(value, kind) for kind in _kinds(schema["type"])):
        yield f"{value!r} is no {schema['type']}"
        return
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{value!r} does not match {schema['pattern']}"
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from (f"[{number}] {fault}" for fault in faults(item, schema["items"], whole))
    if isinstance(value, dict):
        yield from _object_faults(value, schema, whole)


def _object_faults(
    value: dict[str, Any], schema: Mapping[str, Any], whole: Mapping[str, Any]
) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f"{key} is missing" for key in schema.get("required", ()) if key not in value)
    for key, inner in value.items():
        fitting = properties.get(key, schema.get("additionalProperties"))
        if fitting is None or fitting is False:
            yield f"{key} is not in the schema"
        else:
            yield from (f"{key}: {fault}" for fault in faults(inner, fitting, whole))


def _kinds(kind: str | list[str]) -> list[str]:
    return [kind] if isinstance(kind, str) else kind


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind])
