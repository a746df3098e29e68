"""Recordings: what is written can be played, at the speed asked for, damaged or not."""

import asyncio
import io
import os
import re
from pathlib import Path

import pytest

from gateway.clock import ManualClock, SystemClock
from gateway.links.base import Peer
from gateway.links.recording import LONGEST_LINE, Recorder, RecordingHost
from gateway.links.replay import END, ReplayLink, ReplayPeer, _Stage
from gateway.links.serial import SerialLink
from hil_tests.rig.pty import PtyPort
from tests.support.links import TinyHost, attempt, eventually, running

HEADER = '{"format":"pdt-recording","version":1}\n'


def recording(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text(header + "".join(line + "\n" for line in lines))
    return path


def player(path: Path, clock: ManualClock, speed: float = 1.0, baud: int = 9600) -> ReplayLink:
    return ReplayLink(path, speed=speed, baud=baud, clock=clock)


def rx(t: float, text: str, peer: str = "a") -> str:
    return f'{{"t":{t},"peer":"{peer}","dir":"rx","hex":"{text.encode().hex()}"}}'


@pytest.mark.parametrize(("speed", "first_s", "second_s"), [(1.0, 2.0, 10.0), (4.0, 0.5, 2.5)])
def test_the_original_timing_is_kept(
    tmp_path: Path, speed: float, first_s: float, second_s: float
) -> None:
    async def scenario() -> None:
        path = recording(tmp_path / "r", rx(2.0, "one"), rx(10.0, "two"))
        clock, host = ManualClock(), TinyHost()
        async with running(player(path, clock, speed), host):
            await clock.advance(first_s - 0.01)
            assert host.ears == []
            await clock.advance(0.01)
            assert host.ears[0].data == b"one"
            await clock.advance(second_s - first_s - 0.01)
            assert host.ears[0].data == b"one"
            await clock.advance(0.01)
            assert host.ears[0].data == b"onetwo"

    asyncio.run(scenario())


def test_at_full_speed_the_gateway_sets_the_pace(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = recording(tmp_path / "r", *(rx(60.0 * n, "x") for n in range(100)))
        clock, host = ManualClock(), TinyHost()
        host.room.clear()
        async with running(player(path, clock, speed=0), host):
            for _ in range(50):
                await asyncio.sleep(0)
            assert host.ears[0].data == b"x", "one piece, then it waits for room"
            host.room.set()
            await host.until(lambda: host.ears[0].losses)
            assert host.ears[0].data == b"x" * 100
        assert clock.monotonic() == 0.0

    asyncio.run(scenario())


def test_at_the_end_it_stays_open_and_silent(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = recording(tmp_path / "r", rx(0, "last"))
        clock, host = ManualClock(), TinyHost()
        async with running(player(path, clock), host) as task:
            await clock.advance(3600)
            assert host.ears[0].losses == [END], "so that the codec gives what it still holds"
            assert not task.done()

    asyncio.run(scenario())


def test_peers_come_and_go_as_recorded(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = recording(
            tmp_path / "r",
            '{"t":0,"peer":"a","dir":"open"}',
            rx(0, "1", "a"),
            rx(0, "2", "b"),
            '{"t":0,"peer":"a","dir":"tx","hex":"ff"}',
            '{"t":0,"peer":"a","dir":"lost","why":"reset"}',
            '{"t":0,"peer":"nobody","dir":"lost"}',
            rx(0, "3", "a"),
        )
        clock, host = ManualClock(), TinyHost()
        async with running(player(path, clock), host):
            await clock.advance(0)
            await host.until(lambda: len(host.ears) == 3 and host.ears[2].losses)
        heard = [(ear.peer.name, bytes(ear.data), ear.losses) for ear in host.ears]
        assert heard == [("a", b"1", ["reset"]), ("b", b"2", [END]), ("a", b"3", [END])]

    asyncio.run(scenario())


def test_the_documented_example_can_be_played(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "recording.md"
    blocks = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "r"
    path.write_text("".join(blocks))

    async def scenario() -> None:
        host = TinyHost()
        async with running(player(path, ManualClock(), speed=0), host):
            await host.until(lambda: host.ears and host.ears[0].losses)
        assert host.ears[0].data.hex() == "7e000200000138001380000001a97e"
        assert host.ears[0].losses == ["closed by the peer"]
        assert host.drops == {}

    asyncio.run(scenario())


def test_damaged_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = recording(
            tmp_path / "r",
            rx(0, "good"),
            "not JSON",
            '{"t":0,"peer":"a","dir":"rx","hex":"xyz"}',
            '{"t":-1,"peer":"a","dir":"rx","hex":"00"}',
            '{"t":0,"peer":"a","dir":"sideways"}',
            "",
            "x" * (LONGEST_LINE + 10),
            rx(0, " still good"),
            rx(0, "cut")[:-9],
        )
        host = TinyHost()
        async with running(player(path, ManualClock(), speed=0), host):
            await host.until(lambda: host.ears and host.ears[0].losses)
        assert host.ears[0].data == b"good still good"
        assert host.drops == {"damaged_line": 6}

    asyncio.run(scenario())


def test_a_peer_we_hang_up_on_is_heard_again_when_it_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = recording(
            tmp_path / "r",
            rx(0, "bad"),
            rx(1, "ignored"),
            '{"t":2,"peer":"a","dir":"open"}',
            rx(3, "good"),
        )
        clock, host = ManualClock(), TinyHost()
        host.on_data = lambda ear: ear.peer.close("no") if ear.data == b"bad" else None
        async with running(player(path, clock), host):
            await clock.advance(4)
        assert [(bytes(ear.data), ear.losses) for ear in host.ears] == [
            (b"bad", ["no"]),
            (b"good", [END]),
        ]
        assert host.drops == {"hung_up": 1}

    asyncio.run(scenario())


def test_hanging_up_while_being_introduced_is_in_order(tmp_path: Path) -> None:
    def hang_up(peer: Peer) -> None:
        peer.close("no")

    async def scenario() -> None:
        host = TinyHost(answer=hang_up)
        path = recording(tmp_path / "r", rx(0, "a"), rx(0, "b"))
        async with running(player(path, ManualClock(), speed=0), host):
            await host.until(lambda: host.drops["hung_up"])
        assert [ear.losses for ear in host.ears] == [["no"]]

    asyncio.run(scenario())


def test_a_raw_file_is_played_at_the_pace_of_its_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "gps.nmea"
        path.write_bytes(b"$GPGGA,,,,,,0,,,,,,,,*66\r\n" * 74)  # 1,924 bytes
        clock, host = ManualClock(), TinyHost()
        async with running(player(path, clock, baud=9600), host):
            await clock.advance(1.0)  # 960 bytes a second
            assert 400 < len(host.ears[0].data) <= 960
            await clock.advance(1.1)
            assert host.ears[0].data == path.read_bytes()
            assert host.ears[0].peer.name == "gps.nmea"

    asyncio.run(scenario())


def test_a_raw_file_of_json_lines_is_no_recording(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "gpsd.json"
        path.write_text('{"class":"VERSION"}\n{"class":"TPV"}\n')
        host = TinyHost()
        async with running(player(path, ManualClock(), speed=0), host):
            await host.until(lambda: host.ears and host.ears[0].losses)
        assert host.ears[0].data == path.read_bytes()

    asyncio.run(scenario())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none"
    said = asyncio.run(attempt(player(path, ManualClock()), TinyHost()))
    assert said == f"replay {path}: not there (ENOENT)"
    said = asyncio.run(attempt(player(tmp_path, ManualClock()), TinyHost()))
    assert said == f"replay {tmp_path}: is a folder (EISDIR)"


def test_a_link_that_was_recorded_plays_the_same_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = SystemClock()
        port = PtyPort(tmp_path / "gps")
        port.plug()
        recorder = Recorder.create(tmp_path / "r", clock, link="gps-1", driver="nmea0183")
        live = TinyHost(answer=lambda peer: peer.write([b"poll", b"again"]))
        link = SerialLink(str(port.path), 9600, clock)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(attempt(link, RecordingHost(recorder, live)))
            await live.until(lambda: live.ears)
            for piece in (b"$GP", b"\x00\xff", b"last"):
                port.write(piece)
                await live.until(lambda: live.ears[0].data.endswith(piece))  # noqa: B023 - awaited here
            port.unplug()
            await task
        recorder.close()
        text = (tmp_path / "r").read_text()
        assert '"dir":"tx","hex":"706f6c6c"' in text

        played = TinyHost()
        async with running(player(tmp_path / "r", ManualClock(), speed=0), played):
            await played.until(lambda: played.ears and played.ears[0].losses)
        assert played.ears[0].pieces == live.ears[0].pieces
        assert played.ears[0].losses == live.ears[0].losses == ["gone (EIO)"]
        assert played.ears[0].peer.name == str(port.path)

    asyncio.run(scenario())


def test_recording_alone_welcomes_every_peer(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        recorder = Recorder.create(tmp_path / "r", clock, link="l", driver="d")
        port = PtyPort(tmp_path / "gps")
        port.plug()
        link = SerialLink(str(port.path), 9600, SystemClock())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(attempt(link, RecordingHost(recorder)))
            await eventually(lambda: '"open"' in (tmp_path / "r").read_text())
            port.write(b"abc")
            await eventually(lambda: "616263" in (tmp_path / "r").read_text())
            task.cancel()
        port.unplug()
        recorder.close()

    asyncio.run(scenario())


def test_a_peer_turned_away_is_recorded_as_such(tmp_path: Path) -> None:
    recorder = Recorder.create(tmp_path / "r", ManualClock(), link="l", driver="d")
    asyncio.run(_turn_away(recorder))
    recorder.close()
    assert '"dir":"lost","why":"not wanted"' in (tmp_path / "r").read_text()


async def _turn_away(recorder: Recorder) -> None:
    somebody = ReplayPeer("x", _Stage(TinyHost()))
    assert RecordingHost(recorder, TinyHost(most=0)).peer(somebody) is None


def test_only_the_owner_may_read_a_recording_and_none_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r"
    Recorder.create(path, ManualClock(), link="l", driver="d").close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        Recorder.create(path, ManualClock(), link="l", driver="d")


def test_a_recording_stops_at_its_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "r"
    recorder = Recorder.create(path, ManualClock(), link="l", driver="d", most_bytes=1000)
    for _ in range(100):
        recorder.note("rx", "a", b"0123456789")
    assert recorder.stopped == "the file has reached its largest size"
    assert path.stat().st_size <= 1000
    assert path.read_bytes().endswith(b"}\n")


def test_a_full_disk_ends_the_recording_and_nothing_else() -> None:
    file = io.FileIO(os.open("/dev/full", os.O_WRONLY), "wb")
    recorder = Recorder(file, ManualClock(), link="l", driver="d")
    assert recorder.stopped == "the file cannot be written (No space left on device)"
    recorder.note("rx", "a", b"x")
    recorder.close()
    assert file.closed
