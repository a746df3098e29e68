"""Announces every unit to Home Assistant: where it is, and whether it has an emergency.

Home Assistant is told the topics that the gateway publishes anyway and how to read them; nothing is
published twice. What is announced stays in the broker until somebody clears it (docs/mqtt.md).
"""

from typing import Any

from gateway.model.events import to_json
from gateway.model.views import UnitView
from gateway.sinks.mqtt_client import Message
from gateway.sinks.topics import Topics, home_assistant, owner_of

PLACE = (
    "{% if value_json.lat_deg is defined %}{{ {"
    "'latitude': value_json.lat_deg, 'longitude': value_json.lon_deg, "
    "'gps_accuracy': value_json.accuracy_m | default(0), "
    "'battery_level': value_json.battery_pct | default(none), "
    "'fix_at': value_json.fix_at | default(none), 'radio_id': value_json.radio_id"
    "} | tojson }}{% else %}{}{% endif %}"
)
IS_REACHABLE = "{{ 'offline' if value_json.state in ['silent', 'off'] else 'online' }}"
MOST_TOLD = 20_000  # units whose announcement is remembered


class HomeAssistant:
    """Makes the announcements; each once for a connection, and again when a name has changed."""

    def __init__(self, topics: Topics, site: str, version: str) -> None:
        self._topics = topics
        self._site = site
        self._origin = {"name": "pdt-gateway", "sw_version": version}
        self._told: dict[str, tuple[str | None, str | None]] = {}

    def forget(self) -> None:
        """A new connection: the broker may have lost everything."""
        self._told.clear()

    def of(self, view: UnitView) -> list[Message]:
        """The two announcements of a unit, or nothing where they are known or it is none."""
        unit_id = view.unit_id
        names = (view.unit_name, view.team_name)
        if unit_id is None or self._told.get(unit_id) == names or len(self._told) >= MOST_TOLD:
            return []
        self._told[unit_id] = names
        owner = owner_of(unit_id, view.radio_id)
        tracker = {
            "name": None,  # named like its device
            "json_attributes_topic": self._topics.fix(owner),
            "json_attributes_template": PLACE,
            "source_type": "gps",
            "availability": [
                self._gateway_here(),
                {"topic": self._topics.status(owner), "value_template": IS_REACHABLE},
            ],
            "availability_mode": "all",
        }
        alarm = {
            "name": "紧急报警 emergency",
            "state_topic": self._topics.emergency(owner),
            "value_template": "{{ 'ON' if value else 'OFF' }}",  # it is cleared when closed
            "device_class": "safety",
            "availability": [self._gateway_here()],
        }
        return [
            self._message("device_tracker", view, "tracker", tracker),
            self._message("binary_sensor", view, "emergency", alarm),
        ]

    def _gateway_here(self) -> dict[str, str]:
        """While the gateway is away, nothing of it is to be believed."""
        topic = self._topics.gateway_state
        return {"topic": topic, "value_template": "{{ value_json.state }}"}

    def _message(
        self, component: str, view: UnitView, what: str, config: dict[str, Any]
    ) -> Message:
        own_id = f"pdt_{self._site}_{view.unit_id}"
        device: dict[str, Any] = {
            "identifiers": [own_id],
            "name": view.unit_name or view.unit_id,
            "manufacturer": "PDT",
            "model": "unit",
        }
        if view.team_name:
            device["suggested_area"] = view.team_name
        whole = {
            **config,
            "unique_id": f"{own_id}_{what}",
            "device": device,
            "origin": self._origin,
        }
        return Message(
            home_assistant(component, self._site, str(view.unit_id)),
            to_json(whole),
            1,
            retain=True,
        )
