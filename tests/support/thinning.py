"""One story for both versions of InfluxDB: reports of two minutes, and what is left of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.model.events import PositionFix
from gateway.model.quantities import NS_PER_S, Instant
from tests.support.influxdb import InfluxDb, InfluxDb2
from tests.support.sink_rows import eventually, fix

LEFT = 4  # points


def story(minute_s: int) -> list[PositionFix]:
    """Three radios; ``minute_s`` is the beginning of the first minute, in seconds."""

    def at(second: int, number: int = 1, **fields: Any) -> PositionFix:
        moment = Instant((minute_s + second) * NS_PER_S)
        return fix(number, second, fix_at=moment, received_at=moment, **fields)

    nowhere = {"fix_valid": False, "lat_deg": None, "lon_deg": None, "speed_mps": None}
    return [
        at(1, battery_pct=71),
        at(20, speed_mps=3.0),
        at(55, speed_mps=None),
        at(58, fix_valid=False),  # the last known place, sent again
        at(61),
        at(5, number=2),
        at(6, number=2, **nowhere, battery_pct=9),
        at(7, number=3, **nowhere),
    ]


def wait_for_query(database: InfluxDb) -> None:
    """1.x: until the continuous query has run over the story."""

    def is_done() -> bool:
        return len(database.query('SELECT * FROM "minutes"."position"')) >= LEFT

    asyncio.run(eventually(is_done, "the continuous query", 15))


def run_task(database: InfluxDb2) -> None:
    """2.x: let the task run now; returns when it has."""
    (task,) = database.listed("tasks")
    runs = f"/api/v2/tasks/{task['id']}/runs"
    asked = database.ask("POST", runs, json={}).json()["id"]

    def ended() -> str:
        found = {each["id"]: each for each in database.ask("GET", runs).json()["runs"] or ()}
        status: str = found.get(asked, {}).get("status", "")
        assert status != "failed", found[asked]["log"]
        return status

    asyncio.run(eventually(lambda: ended() == "success", "the task"))


def check(thinned: Sequence[dict[str, Any]], minute_s: int) -> None:
    """The last of each field of a minute, and no place that was not measured in it."""
    found = {(one["unit"], one["time"] // NS_PER_S - minute_s): one for one in thinned}
    assert len(found) == len(thinned) == LEFT
    places = {key: one["lat"] and round((one["lat"] - 23.02) * 1e5) for key, one in found.items()}
    assert places == {("u1", 0): 55, ("u1", 60): 61, ("u2", 0): 5, ("u3", 0): None}
    first, second, third = (found[unit, 0] for unit in ("u1", "u2", "u3"))
    assert (first["speed_mps"], first["battery_pct"]) == (3.0, 71), "the last that was told"
    assert (second["speed_mps"], second["battery_pct"]) == (1.5, 9)
    assert (third["satellites"], third["battery_pct"]) == (9, None), "what nobody told is not 0"
    assert not {"event_id", "fix_valid"} & first.keys()
