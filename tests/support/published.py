"""Holds what was heard on a broker to docs/asyncapi.json: a channel for it, a payload that fits."""

import json
import re
from typing import Any

from jsonschema import Draft7Validator

from tests.support.documents import ROOT

FILE = ROOT / "docs" / "asyncapi.json"
LEVEL = "[^/]+"


class Contract:
    """The document, ready to be asked about one message after another."""

    def __init__(self) -> None:
        document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
        self._channels: list[tuple[re.Pattern[str], str]] = []
        for channel in document["channels"].values():
            pattern = re.sub(r"\\\{\w+\\\}", LEVEL, re.escape(channel["address"]))
            (payload,) = channel["messages"]
            self._channels.append((re.compile(pattern + r"\Z"), payload))
        components = {"components": document["components"]}
        self._schemas = {
            payload: Draft7Validator({**components, "$ref": f"#/components/schemas/{payload}"})
            for _, payload in self._channels
        }

    def payload_of(self, topic: str) -> str | None:
        """The name of the payload that belongs on ``topic``."""
        return next((name for pattern, name in self._channels if pattern.match(topic)), None)

    def faults(self, topic: str, payload: bytes) -> list[str]:
        """What is wrong with one message; nothing where it keeps the contract."""
        name = self.payload_of(topic)
        if name is None:
            return [f"{topic}: is in no channel"]
        if name == "emergency" and not payload:
            return []  # it clears the topic
        try:
            value = json.loads(payload)
        except ValueError as error:
            return [f"{topic}: {error}"]
        found = self._schemas[name].iter_errors(value)
        return [f"{topic}: {error.json_path}: {error.message[:200]}" for error in found]
