"""``pdt-gateway influx forget``: what goes, and what an emergency keeps.

Against real servers of 1.x and 2.x, and a real VictoriaMetrics, which cannot be asked.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import ManualClock
from gateway.errors import ConfigError, SinkError
from gateway.model import emergency as transitions
from gateway.model.events import AnyEvent, EmergencyRaised
from gateway.model.identity import UnitId
from gateway.model.quantities import NS_PER_S, Instant
from gateway.settings import Loaded
from gateway.sinks.figures import unit_line
from gateway.sinks.influx import InfluxSink
from gateway.sinks.influx_forget import Span, between, forget
from gateway.sinks.influx_setup import Admin
from gateway.sinks.line_protocol import line_of
from tests.support.influxdb import EACH_VERSION, TOKEN, InfluxDb2, InfluxServer
from tests.support.sink_rows import closed, fix, loaded, raised, row, unit_view
from tests.support.victoria_metrics import VictoriaMetrics

NOW = Instant.parse("2026-03-20T04:00:00Z")
MINUTE = 60 * NS_PER_S
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ADMIN = Admin(token=TOKEN)
KEPT = {"watch": 7 * 86_400.0}
PRESS, CLOSE = Instant(NOW - 9 * DAY + 20 * NS_PER_S), Instant(NOW - 9 * DAY + HOUR)
BEFORE, AMID, AFTER = Instant(PRESS - HOUR), Instant(PRESS + MINUTE), Instant(CLOSE + HOUR)
LATELY = Instant(NOW - HOUR)
MINUTE_OF_PRESS = Instant(PRESS // MINUTE * MINUTE)


def test_what_is_not_spared_is_deleted_without_a_gap_or_an_overlap() -> None:
    spared = [Span(50, 59), Span(10, 19), Span(15, 29), Span(30, 30), Span(95, 120)]
    assert between(spared, 100) == [Span(0, 9), Span(31, 49), Span(60, 94)]
    assert between([], 100) == [Span(0, 99)]
    assert between([Span(0, 200)], 100) == []
    assert between([Span(100, 200)], 100) == [Span(0, 99)]
    assert between([Span(99, 99)], 100) == [Span(0, 98)]


def of_watch(at: Instant, number: int = 1) -> AnyEvent:
    return fix(number, fix_at=at, received_at=at, team="watch")


def press(
    at: Instant, number: int = 1, mark: str = "press", team: str = "watch"
) -> EmergencyRaised:
    return raised(number, mark, team=team, received_at=at)


def closing(alarm: EmergencyRaised, at: Instant) -> AnyEvent:
    state = transitions.raised(alarm)
    return closed(state, team=alarm.team, received_at=at, raised_at=alarm.received_at)


@pytest.fixture(name="database")
def _database(tmp_path: Path, version: type[InfluxServer]) -> Iterator[InfluxServer]:
    with version(tmp_path / "influx") as database:
        yield database


def town_of(folder: Path, database: InfluxServer, **more: Any) -> Loaded:
    """The settings, with places that keep for ever: the story is of another year."""
    database.create("minutes", "alarms")
    alarms = {"alarms_to": database.place("alarms")}
    return loaded(folder, influx={**database.settings, **alarms, **more})


def write(town: Loaded, *events: AnyEvent) -> None:
    async def story() -> None:
        sink = InfluxSink(town, clock=ManualClock(NOW), figures=lambda _: ())
        done = await sink.deliver([row(seq, event) for seq, event in enumerate(events)])
        assert len(done.accepted) == len(events), done
        await sink.close()

    asyncio.run(story())


def thinned(*events: AnyEvent) -> str:
    """What the continuous query or the task writes: each at the beginning of its minute."""
    lines = [line_of(event) or "" for event in events]
    bare = [line.rpartition(" ")[0] for line in lines]
    return "\n".join(
        f"{line} {event.received_at // MINUTE * MINUTE}"
        for line, event in zip(bare, events, strict=True)
    )


def times(database: InfluxServer, source: str, unit: str = "u1") -> list[int]:
    rows = database.query(f'SELECT "lat" FROM {source} WHERE "unit" = \'{unit}\'')  # noqa: S608
    return [one["time"] for one in rows]


@EACH_VERSION
def test_positions_of_an_emergency_stay_in_full_and_by_the_minute(
    tmp_path: Path, database: InfluxServer
) -> None:
    town = town_of(tmp_path, database)
    alarm = press(PRESS)
    fixes = [
        *(of_watch(at) for at in (BEFORE, AMID, AFTER, LATELY)),
        of_watch(Instant(PRESS + 2 * NS_PER_S), number=3),
        of_watch(AFTER, number=3),
        fix(2, fix_at=BEFORE, received_at=BEFORE),
    ]
    write(town, *fixes, alarm, closing(alarm, CLOSE))
    database.write(thinned(*fixes), rp="minutes")
    assert len(times(database, '"minutes"."position"')) == 4
    for _ in range(2):  # a second run finds nothing more
        (step,) = forget(town, ADMIN, KEPT, NOW)
        assert step.detail == "kept 7 d, those of emergencies longer (1)"
        assert times(database, '"position"') == [AMID, LATELY]
        assert times(database, '"position"', "u3") == [PRESS + 2 * NS_PER_S], "of its team"
        assert times(database, '"position"', "u2") == [BEFORE], "another team"
        minutes = times(database, '"minutes"."position"')
        assert minutes == [Instant(at // MINUTE * MINUTE) for at in (AMID, LATELY)]
        assert times(database, '"minutes"."position"', "u3") == [MINUTE_OF_PRESS]
    for place in ("", '"alarms".'):
        events = database.query(f'SELECT "event" FROM {place}"emergency"')  # noqa: S608
        assert [one["event"] for one in events] == ["raised", "closed"]


@EACH_VERSION
def test_the_present_states_say_where_somebody_was_and_go_as_well(
    tmp_path: Path, database: InfluxServer
) -> None:
    town = town_of(tmp_path, database)
    alarm = press(PRESS)
    write(town, alarm, closing(alarm, CLOSE))
    view = unit_view(1, unit_id=UnitId("u1"), team="watch", lat_deg=23.02, lon_deg=113.75)
    lines = [unit_line("town", view, None, at) or "" for at in (BEFORE, AMID, AFTER, LATELY)]
    database.write("\n".join(lines))
    assert times(database, '"radio_status"') == [BEFORE, AMID, AFTER, LATELY]
    forget(town, ADMIN, KEPT, NOW)
    assert times(database, '"radio_status"') == [AMID, LATELY]


@EACH_VERSION
def test_one_that_nobody_has_closed_goes_on(tmp_path: Path, database: InfluxServer) -> None:
    town = town_of(tmp_path, database, alarms_to="")
    write(town, of_watch(BEFORE), press(PRESS), of_watch(AMID), of_watch(AFTER))
    forget(town, ADMIN, KEPT, NOW)
    assert times(database, '"position"') == [AMID, AFTER]


@EACH_VERSION
def test_a_closing_alone_says_when_the_alarm_was(tmp_path: Path, database: InfluxServer) -> None:
    """The alarm was kept for less time than its closing."""
    town = town_of(tmp_path, database, alarms_to="")
    write(town, of_watch(BEFORE), of_watch(AMID), of_watch(AFTER), closing(press(PRESS), CLOSE))
    forget(town, ADMIN, KEPT, NOW)
    assert times(database, '"position"') == [AMID]


@pytest.mark.needs("influxd2")
def test_an_organisation_need_not_be_named(tmp_path: Path) -> None:
    """A gateway that writes to 2.x by the path of 1.x has none in its settings."""
    with InfluxDb2(tmp_path / "influx") as database:
        town = town_of(tmp_path, database, api="1", org="", alarms_to="alarms")
        database.write(f"position,team=watch,unit=u1 lat=23.0 {BEFORE}")
        forget(town, ADMIN, KEPT, NOW)
        assert times(database, '"position"') == []


@EACH_VERSION
def test_nothing_is_deleted_where_the_alarms_cannot_be_asked_for(
    tmp_path: Path, database: InfluxServer
) -> None:
    database.create()
    alarms = {"alarms_to": database.place("alarms")}
    town = loaded(tmp_path, influx={**database.settings, **alarms})
    database.write(f"position,team=watch,unit=u1 lat=23.0 {BEFORE}")
    with pytest.raises(SinkError, match=r"(retention policy|database) not found: "):
        forget(town, ADMIN, KEPT, NOW)
    assert times(database, '"position"') == [BEFORE]


@EACH_VERSION
def test_a_server_that_knows_no_such_name_deletes_nothing(
    tmp_path: Path, database: InfluxServer
) -> None:
    town = loaded(tmp_path, influx=database.settings)
    with pytest.raises(SinkError, match="database not found"):
        forget(town, ADMIN, KEPT, NOW)


@pytest.mark.needs("victoria-metrics")
def test_a_server_that_cannot_be_asked_is_told_and_nothing_is_promised(tmp_path: Path) -> None:
    """VictoriaMetrics answers every InfluxQL statement with a 200 and a list of databases."""
    with VictoriaMetrics(tmp_path) as server:
        town = loaded(tmp_path, influx={"url": server.url})
        with pytest.raises(ConfigError, match="does not say that it is InfluxDB"):
            forget(town, ADMIN, KEPT, NOW)
