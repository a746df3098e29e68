"""The gpsd codec: receivers, ages, bounds; and a real gpsd with a receiver on a pseudo-terminal."""

import os
import pty
import socket
import subprocess
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drivers.api import Moment, Output, Reject, Report
from drivers.gpsd_json import (
    DRIVER,
    MAX_DEVICES,
    MAX_LINE,
    SKY_FRESH_S,
    WATCH,
    number_of_path,
)
from drivers.wire import xor8
from gateway.model.events import PositionFix
from gateway.model.quantities import NS_PER_S, Instant

AT = Instant.parse("2026-05-01T08:00:00Z")
DEADLINE_S = 15.0


def moment(seconds: float) -> Moment:
    return Moment(100.0 + seconds, Instant(AT + round(seconds * NS_PER_S)))


def line(kind: str, **fields: Any) -> bytes:
    return msgspec.json.encode({"class": kind} | fields) + b"\r\n"


def tpv(device: str = "/dev/ttyUSB0", **fields: Any) -> bytes:
    return line("TPV", device=device, **({"mode": 3, "lat": 30.25, "lon": 120.15} | fields))


def fixes(outputs: Sequence[Output]) -> list[PositionFix]:
    reports = [output for output in outputs if isinstance(output, Report)]
    return [report.event for report in reports if isinstance(report.event, PositionFix)]


def reasons(outputs: Sequence[Output]) -> list[str]:
    return [output.reason for output in outputs if isinstance(output, Reject)]


def test_reports_are_asked_for_once() -> None:
    codec = DRIVER.new_codec({}, "gnss-1")
    assert list(codec.outgoing()) == [WATCH]
    assert list(codec.outgoing()) == []
    assert codec.next_deadline() is None
    assert list(codec.expire(moment(0))) == []
    codec.accept(1)


def test_satellites_of_long_ago_are_not_told() -> None:
    codec = DRIVER.new_codec({}, "gnss-1")
    codec.receive(line("SKY", device="/dev/ttyUSB0", uSat=9, hdop=0.9), moment(0))
    codec.receive(line("SKY", device="/dev/ttyUSB0", hdop=0.8), moment(0))
    codec.receive(line("SKY", device="/dev/ttyUSB0", uSat=10), moment(0))
    (fresh,) = fixes(codec.receive(tpv(), moment(SKY_FRESH_S)))
    (old,) = fixes(codec.receive(tpv(), moment(SKY_FRESH_S + 1)))
    assert (fresh.satellites, fresh.hdop) == (10, 0.8)
    assert (old.satellites, old.hdop) == (None, None)


def test_satellites_of_one_receiver_are_not_the_others() -> None:
    codec = DRIVER.new_codec({}, "gnss-1")
    codec.receive(line("SKY", device="/dev/ttyUSB0", uSat=9), moment(0))
    (fix,) = fixes(codec.receive(tpv("/dev/ttyUSB1"), moment(0)))
    assert fix.satellites is None


def test_a_second_receiver_that_is_plugged_in_gets_a_number_of_its_own() -> None:
    codec = DRIVER.new_codec({}, "gnss-1")
    (alone,) = fixes(codec.receive(tpv(), moment(0)))
    codec.receive(line("DEVICE", path="/dev/ttyUSB1", activated="2026-05-01T08:00:00Z"), moment(1))
    (second,) = fixes(codec.receive(tpv("/dev/ttyUSB1"), moment(1)))
    assert (alone.radio_id, second.radio_id) == ("receiver:gnss-1", "receiver:ttyUSB1")
    lost = codec.receive(line("DEVICE", path="/dev/ttyUSB1", activated=0), moment(2))
    assert reasons(lost) == ["no_receiver"]
    (alone,) = fixes(codec.receive(tpv(), moment(2)))
    assert alone.radio_id == "receiver:gnss-1"


def test_receivers_without_end_do_not_pile_up() -> None:
    codec: Any = DRIVER.new_codec({}, "gnss-1")
    for number in range(MAX_DEVICES + 50):
        codec.receive(tpv(f"/dev/gps{number}"), moment(0))
    assert len(codec._known) == MAX_DEVICES
    codec.receive(line("DEVICES", devices=[{"path": f"/dev/{n}"} for n in range(1000)]), moment(0))
    assert len(codec._known) == MAX_DEVICES


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/dev/ttyACM0", "ttyACM0"),
        ("tcp://10.0.0.7:4000", "tcp-10-0-0-7-4000"),
        ("/dev/serial/by-id/" + "x" * 80, "x" * 64),
        ("/dev/§", ""),
    ],
)
def test_a_receivers_number_is_safe_in_a_topic(path: str, number: str) -> None:
    assert number_of_path(path) == number
    codec = DRIVER.new_codec({}, "gnss-1")
    codec.receive(tpv("/dev/other"), moment(0))
    (fix,) = fixes(codec.receive(tpv(path), moment(0)))
    assert fix.radio_id == f"receiver:{number or 'gnss-1'}"


@pytest.mark.parametrize("options", [{"devices": {"/dev/a": "no spaces"}}, {"device": "x"}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        DRIVER.new_codec(options, "gnss-1")


def test_an_endless_line_is_refused_once_and_the_next_one_read() -> None:
    codec: Any = DRIVER.new_codec({}, "gnss-1")
    for _ in range(10):
        assert codec.receive(b"A" * MAX_LINE, moment(0)) == []
        assert len(codec._rest) <= MAX_LINE
    outputs = codec.receive(b"A\n" + tpv(), moment(0))
    assert reasons(outputs) == ["overrun"]
    assert len(fixes(outputs)) == 1


def test_the_same_epoch_told_twice_is_one_report() -> None:
    codec = DRIVER.new_codec({}, "gnss-1")
    twice = tpv(time="2026-05-01T08:00:00.000Z") * 2
    first, second = codec.receive(twice + tpv(), moment(0))[:2]
    assert isinstance(first, Report)
    assert isinstance(second, Report)
    assert first.same_as == second.same_as is not None


# --- a real gpsd ----------------------------------------------------------------------------------


def sentence(body: str) -> bytes:
    return b"$%s*%02X\r\n" % (body.encode(), xor8(body.encode()))


def epoch(at: datetime, minutes: float) -> bytes:
    clock, place = f"{at:%H%M%S}.00", f"30{minutes:07.4f},N,12009.8765,E"
    return (
        sentence(f"GPGGA,{clock},{place},1,08,1.1,57.0,M,8.0,M,,")
        + sentence("GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.8,1.1,1.4")
        + sentence("GPGSV,2,1,08,01,40,083,46,02,17,308,41,03,07,344,39,04,22,228,45")
        + sentence("GPGSV,2,2,08,05,40,083,46,06,17,308,41,07,07,344,39,08,22,228,45")
        + sentence(f"GPRMC,{clock},A,{place},2.5,87.0,{at:%d%m%y},,,A")
    )


@contextmanager
def running_gpsd() -> Iterator[tuple[int, int]]:
    """A gpsd on a free port of loopback with a receiver; gives the port and the receiver's end."""
    receiver, device = pty.openpty()
    tty.setraw(receiver)
    Path(os.ttyname(device)).chmod(0o666)  # gpsd gives root up before it opens it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["gpsd", "-N", "-n", "-b", "-S", str(port), os.ttyname(device)]
    gpsd = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield port, receiver
    finally:
        gpsd.terminate()
        gpsd.wait(timeout=10)
        os.close(receiver)
        os.close(device)


def connected(port: int) -> socket.socket:
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            made = socket.create_connection(("127.0.0.1", port), timeout=1.0)
        except ConnectionRefusedError:
            assert time.monotonic() < end, "gpsd does not listen"
            time.sleep(0.05)
        else:
            made.settimeout(0.25)
            return made


@pytest.mark.slow
@pytest.mark.needs("gpsd")
def test_a_real_gpsd_is_asked_and_its_fixes_arrive_with_satellites() -> None:
    codec = DRIVER.new_codec({}, "gnss-1")
    outputs: list[Output] = []
    told: dict[str, float] = {}
    with running_gpsd() as (port, receiver), connected(port) as peer:
        peer.sendall(b"".join(codec.outgoing()) + b"?FOO;\n")
        end = time.monotonic() + DEADLINE_S
        minutes = 14.0
        while time.monotonic() < end and not any(fix.hdop for fix in fixes(outputs)):
            at = datetime.now(UTC)
            minutes += 0.01
            told[f"{minutes:.4f}"] = minutes
            os.write(receiver, epoch(at, minutes))
            try:
                data = peer.recv(65_536)
            except TimeoutError:
                continue
            outputs += codec.receive(data, moment(0))
    assert reasons(outputs) == ["refused"], "the answer to ?FOO, and nothing else"
    fix = fixes(outputs)[-1]
    assert fix.radio_id == "receiver:gnss-1"
    assert fix.fix_valid
    assert fix.lat_deg is not None
    assert min(abs(fix.lat_deg - 30 - each / 60) for each in told.values()) < 1e-6
    assert fix.lon_deg == pytest.approx(120 + 9.8765 / 60, abs=1e-6)
    assert fix.speed_mps == pytest.approx(2.5 * 1852 / 3600, abs=1e-3)
    assert fix.course_deg == 87.0
    assert (fix.altitude_m, fix.satellites, fix.hdop) == (57.0, 8, 1.1)
    assert fix.fix_at is not None
    assert abs(fix.fix_at - Instant.from_datetime(datetime.now(UTC))) < 60 * NS_PER_S
