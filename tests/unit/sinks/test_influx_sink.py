import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import ManualClock, SystemClock
from gateway.errors import ConfigError, SinkError
from gateway.model import emergency as transitions
from gateway.model.events import AnyEvent, LinkChanged, RadioRegistered, TextReceived
from gateway.model.quantities import Instant
from gateway.sinks import influx
from gateway.sinks.influx import InfluxSink
from gateway.sinks.influx_setup import Admin, set_up
from gateway.sinks.line_protocol import line
from tests.support.fake_broker import serving
from tests.support.influx_v2_stand_in import Answer, InfluxV2StandIn
from tests.support.influxdb import EACH_VERSION, TOKEN, InfluxDb, InfluxServer
from tests.support.sink_rows import AT, closed, figures, fix, header, loaded, raised, row


def make_sink(folder: Path, *, clock: ManualClock | None = None, **settings: Any) -> InfluxSink:
    return InfluxSink(
        loaded(folder, influx=settings),
        clock=clock or SystemClock(),
        figures=figures,
    )


def v2_sink(folder: Path, url: str, clock: ManualClock | None = None) -> InfluxSink:
    (folder / "token").write_text(f"{TOKEN}\n")
    return make_sink(folder, url=url, clock=clock, api="2", org="police", token_file="token")  # noqa: S106 - a file's name


def sink_to(database: InfluxServer, clock: ManualClock | None = None) -> InfluxSink:
    return make_sink(Path(), clock=clock, **database.settings)


def run(sink: InfluxSink, scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await scenario()
        finally:
            await sink._writer.close()

    asyncio.run(whole())


@EACH_VERSION
def test_events_can_be_queried_with_influxql(tmp_path: Path, version: type[InfluxServer]) -> None:
    with version(tmp_path) as database:
        database.create()
        sink = sink_to(database)
        press = raised(2)
        events: list[AnyEvent] = [
            fix(1, battery_pct=71),
            press,
            RadioRegistered(**header(3)),
            LinkChanged(**header(1, unit_id=None, team=None), state="down", since=AT, why='"off",'),
            closed(transitions.raised(press)),
            TextReceived(**header(1), body="收到"),
        ]

        async def scenario() -> None:
            delivery = await sink.deliver([row(seq, event) for seq, event in enumerate(events)])
            assert sorted(delivery.accepted) == list(range(len(events)))
            assert not delivery.rejected

        run(sink, scenario)
        (point,) = database.query("SELECT * FROM position")
        assert point == {
            "time": AT,
            "driver": "jt808",
            "link": "lan",
            "radio": "pdt:1",
            "site": "town",
            "team": "patrol",
            "unit": "u1",
            "fix_valid": True,
            "lat": 23.02,
            "lon": 113.75,
            "lat_gcj": pytest.approx(23.0172772),
            "lon_gcj": pytest.approx(113.7551941),
            "speed_mps": 1.5,
            "satellites": 9,
            "battery_pct": 71,
            "event_id": events[0].event_id,
            "delay_s": 0,
        }
        life = database.query("SELECT event, verdict FROM emergency WHERE unit = 'u2'")
        assert [(one["event"], one["verdict"]) for one in life] == [
            ("raised", None),
            ("closed", "false"),
        ]
        (link,) = database.query("SELECT is_up, why FROM link GROUP BY link")
        assert (link["is_up"], link["why"], link["link"]) == (False, '"off",', "lan")
        (registered,) = database.query("SELECT is_registered FROM radio_status")
        assert registered["is_registered"] is True
        tags = {one["tagKey"] for one in database.query("SHOW TAG KEYS")}
        assert tags == {"site", "team", "unit", "radio", "link", "driver"}


@EACH_VERSION
def test_odd_texts_come_back_from_a_real_server_as_they_were(
    tmp_path: Path, version: type[InfluxServer]
) -> None:
    texts = [
        "a b",
        "a,b",
        "a=b",
        'say "x"',
        "'",
        "巡逻一组",
        "a\\",
        '\\"',
        "\\n",
        "#",
        "# x",
        "{}",
        "é\U0001f6a8",
    ]
    lines = [
        line("odd", {"unit": text}, {"why": text}, Instant(AT + number))
        for number, text in enumerate(texts)
    ]
    with version(tmp_path) as database:
        database.create()
        sink = sink_to(database)

        async def scenario() -> None:
            await sink._writer.write("\n".join(filter(None, lines)).encode())

        run(sink, scenario)
        stored = database.query("SELECT why, unit FROM odd")
        assert [one["why"] for one in stored] == texts
        assert [one["unit"] for one in stored] == [text.replace("\\", "/") for text in texts]


@EACH_VERSION
def test_the_same_event_written_twice_is_one_point(
    tmp_path: Path, version: type[InfluxServer]
) -> None:
    with version(tmp_path) as database:
        database.create()
        sink = sink_to(database)

        async def scenario() -> None:
            for _ in range(2):
                await sink.deliver([row(1, fix(1)), row(2, raised(1))])

        run(sink, scenario)
        assert database.query("SELECT count(lat) FROM position")[0]["count"] == 1
        assert database.query("SELECT count(kind) FROM emergency")[0]["count"] == 1


@EACH_VERSION
def test_bad_points_are_set_aside_with_the_reason_and_the_others_are_written(
    tmp_path: Path, version: type[InfluxServer]
) -> None:
    with version(tmp_path) as database:
        database.create()
        # another program has written `hdop` as text this week: a report with one cannot be stored
        sink = sink_to(database)

        async def scenario() -> None:
            await sink._writer.write(f'position hdop="high" {int(AT)}'.encode())
            rows = [row(seq, fix(seq % 7, seq)) for seq in range(100)]
            for bad in (0, 41, 42, 99):
                rows[bad] = row(bad, fix(bad, bad, hdop=1.5))
            rows[50] = row(50, fix(50, fix_at=Instant(2**64)))
            delivery = await sink.deliver(rows)
            assert delivery.rejected.keys() == {0, 41, 42, 50, 99}
            assert sorted(delivery.accepted) == [
                seq for seq in range(100) if seq not in delivery.rejected
            ]
            assert "field type conflict" in delivery.rejected[41]
            assert len({delivery.rejected[bad] for bad in (0, 41, 42, 99)}) == 1, "one cause"
            assert "not within what InfluxDB stores" in delivery.rejected[50]

        run(sink, scenario)
        assert database.query("SELECT count(lat) FROM position")[0]["count"] == 95


@EACH_VERSION
def test_points_that_are_too_old_for_the_place_are_set_aside_in_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: type[InfluxServer]
) -> None:
    with version(tmp_path) as database:
        now = SystemClock().now()
        set_up(loaded(tmp_path, influx=database.settings), Admin(token=TOKEN))
        sink = sink_to(database)
        requests = 0
        kind = type(sink._writer)
        write = kind.write

        async def counted(writer: Any, body: bytes, place: str = "") -> None:
            nonlocal requests
            requests += 1
            await write(writer, body, place)

        async def scenario() -> None:
            monkeypatch.setattr(kind, "write", counted)
            old = [fix(1, seq, fix_at=Instant(AT - 10**18)) for seq in range(20)]
            delivery = await sink.deliver([row(seq, each) for seq, each in enumerate(old)])
            assert requests == 1, "all of them were left out: there is nobody to look for"
            assert delivery.rejected.keys() == set(range(20))
            assert "retention policy" in delivery.rejected[7]
            reasons = set(delivery.rejected.values())
            mixed = [*old, fix(2, fix_at=now)]
            delivery = await sink.deliver([row(seq, each) for seq, each in enumerate(mixed)])
            assert delivery.accepted == [20]
            assert set(delivery.rejected.values()) == reasons, "one cause"

        run(sink, scenario)
        assert database.query("SELECT count(lat) FROM position")[0]["count"] == 1


@EACH_VERSION
def test_a_database_that_is_not_there_is_told_with_how_to_make_it(
    tmp_path: Path, version: type[InfluxServer]
) -> None:
    with version(tmp_path) as database:
        sink = sink_to(database)

        async def scenario() -> None:
            with pytest.raises(SinkError, match=r"404.*make \w+ 'pdt'.*influx setup"):
                await sink.deliver([row(1, fix(1))])
            database.create()
            assert (await sink.deliver([row(1, fix(1))])).accepted == [1]

        run(sink, scenario)


@pytest.mark.needs("influxd")
def test_an_exchanged_password_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    with InfluxDb(tmp_path, auth=True) as database:
        database.query("CREATE USER root WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
        database.query("CREATE DATABASE pdt", u="root", p="secret")
        (tmp_path / "password").write_text("old\n")
        login: dict[str, Any] = {"user": "root", "password_file": "password"}
        sink = make_sink(tmp_path, **database.settings, **login)

        async def scenario() -> None:
            with pytest.raises(SinkError, match=r"401.*influx\.password_file"):
                await sink.deliver([row(1, fix(1))])
            assert "old" not in (sink.why_down or "")
            (tmp_path / "password").unlink()
            with pytest.raises(SinkError, match=r"influx\.password_file"):
                await sink.deliver([row(1, fix(1))])
            (tmp_path / "password").write_text("secret\n")
            assert (await sink.deliver([row(1, fix(1))])).accepted == [1]
            assert sink.why_down is None

        run(sink, scenario)


@EACH_VERSION
def test_the_gateways_own_figures_are_written_now_and_then(
    tmp_path: Path, version: type[InfluxServer]
) -> None:
    with version(tmp_path) as database:
        database.create()
        clock = ManualClock()
        sink = sink_to(database, clock)

        def stored() -> list[dict[str, Any]]:
            return database.query("SELECT stored, lag_s, is_accepting FROM gateway")

        async def scenario() -> None:
            task = asyncio.ensure_future(sink.run())
            async with asyncio.timeout(10):
                while len(await asyncio.to_thread(stored)) < 2:
                    await clock.advance(influx.FIGURES_EVERY_S)
                    await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(scenario())
        point = stored()[0]
        assert (point["stored"], point["lag_s"], point["is_accepting"]) == (3, 0.5, True)


def test_a_server_that_is_away_is_tried_again(tmp_path: Path) -> None:
    async def nobody() -> int:
        async with serving(_hang) as port:
            return port

    port = asyncio.run(nobody())
    for api in ("1", "2"):
        sink = make_sink(tmp_path, url=f"http://127.0.0.1:{port}", api=api)

        async def scenario(sink: InfluxSink = sink) -> None:
            with pytest.raises(SinkError, match=rf"127\.0\.0\.1:{port}: refused \(ECONNREFUSED\)"):
                await sink.deliver([row(1, fix(1))])

        run(sink, scenario)


async def _hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    await asyncio.sleep(10)


@pytest.mark.parametrize("api", ["1", "2"])
def test_a_server_that_hangs_is_given_up_after_the_set_time(tmp_path: Path, api: str) -> None:
    async def scenario() -> None:
        async with serving(_hang) as port:
            sink = make_sink(tmp_path, url=f"http://127.0.0.1:{port}", api=api, timeout_s=0.2)
            with pytest.raises(SinkError, match="no answer in time"):
                await sink.deliver([row(1, fix(1))])
            await sink._writer.close()

    asyncio.run(scenario())


def test_a_batch_of_nothing_but_bad_lines_takes_a_bounded_number_of_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx, "MAX_REQUESTS", 12)
    with InfluxV2StandIn(lambda _lines: Answer(400, "invalid", "no")) as server:
        sink = v2_sink(tmp_path, server.url)

        async def scenario() -> None:
            rows = [row(seq, fix(seq)) for seq in range(100)]
            delivery = await sink.deliver(rows)
            assert server.requests == 12
            assert not delivery.accepted
            assert 0 < len(delivery.rejected) < 100, "the others are offered again"

        run(sink, scenario)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(401, "unauthorized", "unauthorized access"), r"401.*influx\.token_file"),
        (Answer(403, "forbidden", "insufficient permissions"), "403.*may not write to bucket"),
        (Answer(404, "not found", "bucket not found"), "404.*make bucket 'pdt'"),
        (Answer(500, "internal error", "disk"), "500: disk"),
        (Answer(503, "unavailable", "starting"), "503: starting"),
    ],
)
def test_an_answer_about_the_server_keeps_the_rows(
    tmp_path: Path, answer: Answer, told: str
) -> None:
    with InfluxV2StandIn(lambda _lines: answer) as server:
        sink = v2_sink(tmp_path, server.url)

        async def scenario() -> None:
            with pytest.raises(SinkError, match=told):
                await sink.deliver([row(1, fix(1))])
            assert TOKEN not in (sink.why_down or "")

        run(sink, scenario)
        assert server.requests == 1


def test_a_server_that_asks_for_a_pause_gets_it(tmp_path: Path) -> None:
    answers: list[Answer | None] = [Answer(429, "too many", "later", (("Retry-After", "7"),)), None]
    with InfluxV2StandIn(lambda _lines: answers.pop(0)) as server:
        clock = ManualClock()
        sink = v2_sink(tmp_path, server.url, clock)

        async def scenario() -> None:
            with pytest.raises(SinkError, match="429: later"):
                await sink.deliver([row(1, fix(1))])
            await clock.advance(6.9)
            with pytest.raises(SinkError, match="as long as the server asked"):
                await sink.deliver([row(1, fix(1))])
            assert server.requests == 1
            await clock.advance(0.2)
            assert (await sink.deliver([row(1, fix(1))])).accepted == [1]

        run(sink, scenario)


def test_what_was_written_before_the_server_went_is_not_offered_again(tmp_path: Path) -> None:
    def judge(lines: list[str]) -> Answer | None:
        if len(lines) == 8:
            return Answer(400, "invalid", "one of them is bad")
        return Answer(500, "internal error", "gone") if "radio=pdt:4," in lines[0] else None

    with InfluxV2StandIn(judge) as server:
        sink = v2_sink(tmp_path, server.url)

        async def scenario() -> None:
            delivery = await sink.deliver([row(seq, fix(seq)) for seq in range(8)])
            assert list(delivery.accepted) == [0, 1, 2, 3]
            assert not delivery.rejected
            assert sink.why_down is not None

        run(sink, scenario)


def test_a_missing_secret_stops_the_start(tmp_path: Path) -> None:
    secret: dict[str, Any] = {"token_file": "gone"}
    with pytest.raises(ConfigError, match=r"influx\.token_file"):
        make_sink(tmp_path, url="http://127.0.0.1:1", api="2", **secret)
