"""The serial link on pseudo-terminals: opening, refusals, unplugging, bounds."""

import asyncio
import contextlib
import errno
import grp
import os
import resource
import threading
from pathlib import Path

import pytest
import serial

from gateway.clock import ManualClock, SystemClock
from gateway.links.serial import LOOK_S, Port, SerialLink, explain_open
from gateway.links.stream import TURN_BYTES, WRITE_BYTES
from hil_tests.rig.pty import PtyPort
from tests.support.descriptors import nothing_left_open
from tests.support.links import TinyHost, attempt, eventually, running, shout

LINE = b"$GPRMC,,V,,,,,,,,,,N*53\r\n"


def port_at(path: Path) -> PtyPort:
    port = PtyPort(path)
    port.plug()
    return port


def link_to(path: Path) -> SerialLink:
    return SerialLink(str(path), 9600, SystemClock())


def test_bytes_go_both_ways(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        said = bytearray()
        port.listen(said.extend)
        host = TinyHost(answer=shout([b"hello ", b"radio"]))
        async with running(link_to(port.path), host):
            port.write(LINE)
            await host.until(lambda: host.ears[0].data == LINE)
            await eventually(lambda: said == b"hello radio")
        assert host.ears[0].peer.name == str(port.path)
        assert host.ears[0].losses == ["stopped"]
        port.unplug()

    asyncio.run(scenario())


def test_what_was_sent_before_opening_is_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        port.write(b"old and half a li")
        host = TinyHost()
        async with running(link_to(port.path), host):
            port.write(LINE)
            await host.until(lambda: host.ears[0].data)
        assert host.ears[0].data == LINE
        port.unplug()

    asyncio.run(scenario())


def test_unplugging_is_noticed_at_once_and_everything_is_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        host = TinyHost()
        with nothing_left_open():
            async with running(link_to(port.path), host) as task:
                await host.until(lambda: host.ears)
                began = asyncio.get_running_loop().time()
                port.unplug()
                assert await task == f"serial {port.path}: gone (EIO)"
                assert asyncio.get_running_loop().time() - began < 1.0
                assert host.ears[0].losses == ["gone (EIO)"]
                host.ears[0].peer.write([LINE])
                host.ears[0].peer.close("too late")

    asyncio.run(scenario())


def test_unplugging_is_noticed_while_the_gateway_is_behind_and_writing(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        host = TinyHost()
        async with running(link_to(port.path), host) as task:
            host.room.clear()
            for _ in range(40):  # more than the link takes while nobody has room
                port.write(b"x" * 4096)
                await asyncio.sleep(0)
            port.unplug()
            host.ears[0].peer.write([LINE])
            await asyncio.sleep(2 * LOOK_S + 0.1)
            host.room.set()
            async with asyncio.timeout(1):
                assert "gone" in await task

    asyncio.run(scenario())


def test_a_path_that_leads_elsewhere_is_a_lost_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        other = port_at(tmp_path / "other")
        clock = ManualClock()
        host = TinyHost()
        async with running(SerialLink(str(port.path), 9600, clock), host) as task:
            await host.until(lambda: host.ears)
            port.path.unlink()  # the device itself still answers
            await clock.advance(LOOK_S)
            port.path.symlink_to(other.path.readlink())
            assert not task.done()
            await clock.advance(LOOK_S)
            assert await task == f"serial {port.path}: gone (its path is no longer there)"
        port.unplug()
        other.unplug()

    asyncio.run(scenario())


def test_a_path_missing_for_a_moment_is_no_loss(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        target = port.path.readlink()
        clock = ManualClock()
        host = TinyHost()
        async with running(SerialLink(str(port.path), 9600, clock), host) as task:
            for _ in range(3):
                port.path.unlink()
                await clock.advance(LOOK_S)
                port.path.symlink_to(target)  # as when udev writes its links again
                await clock.advance(LOOK_S)
            assert not task.done()
        port.unplug()

    asyncio.run(scenario())


def test_a_port_that_is_not_there_is_named(tmp_path: Path) -> None:
    host = TinyHost()
    path = tmp_path / "nothing"
    assert asyncio.run(attempt(link_to(path), host)) == f"serial {path}: not there (ENOENT)"
    assert host.openings == 0


def test_a_file_that_is_no_port_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("no port")
    said = asyncio.run(attempt(link_to(path), TinyHost()))
    assert said == f"serial {path}: not a serial port (ENOTTY)"


def test_a_port_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        first, second = TinyHost(), TinyHost()
        async with running(link_to(port.path), first):
            said = await attempt(link_to(port.path), second)
            assert said.startswith(f"serial {port.path}: in use by another program (EAGAIN)")
            assert f"fuser -v {port.path}" in said
            port.write(LINE)
            await first.until(lambda: first.ears[0].data == LINE)
        async with running(link_to(port.path), second):  # and free afterwards
            assert second.openings == 1
        port.unplug()

    asyncio.run(scenario())


def test_without_permission_the_group_to_join_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tty"
    path.touch(mode=0o660)
    path.chmod(0o660)
    group = grp.getgrgid(path.stat().st_gid).gr_name
    said = explain_open(str(path), serial.SerialException(errno.EACCES, "could not open port"))
    assert said == (
        f"no permission (EACCES); add the service's user to the group {group!r} "
        "and start the service again"
    )
    path.chmod(0o600)
    said = explain_open(str(path), serial.SerialException(errno.EACCES, "could not open port"))
    assert "udev rule" in said


def test_a_far_end_that_takes_nothing_holds_neither_the_loop_nor_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")  # nobody reads its end
        host = TinyHost()
        async with running(link_to(port.path), host) as task:
            await host.until(lambda: host.ears)
            began = asyncio.get_running_loop().time()
            for _ in range(WRITE_BYTES // 4096 + 20):
                host.ears[0].peer.write([b"x" * 4096])
            assert asyncio.get_running_loop().time() - began < 1.0
            async with asyncio.timeout(2):
                assert "does not read" in await task
            assert host.drops["slow_reader"] == 1
        port.unplug()

    asyncio.run(scenario())


def test_a_full_port_says_so_at_once(tmp_path: Path) -> None:
    plug = port_at(tmp_path / "gps")
    with Port(str(plug.path), timeout=0, write_timeout=0) as port:
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1 << 20:
                sent += port.write(b"x" * 16)
        assert 0 < sent < 1 << 20
    plug.unplug()


def test_reading_waits_while_the_gateway_is_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        host = TinyHost()
        host.room.clear()
        async with running(link_to(port.path), host):
            sent = 0
            for _ in range(200):
                lost_before = port.lost_bytes
                port.write(b"y" * 2048)
                sent += 2048 - (port.lost_bytes - lost_before)
                await asyncio.sleep(0.001)
            assert port.lost_bytes > 0, "the line is full: the link has stopped reading"
            assert host.ears[0].pieces == []
            host.room.set()
            await host.until(lambda: len(host.ears[0].data) == sent)
            assert max(map(len, host.ears[0].pieces)) <= TURN_BYTES
        port.unplug()

    asyncio.run(scenario())


def test_a_descriptor_above_1023_works(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("needs 2,048 open files, which this machine does not allow")

    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        host = TinyHost()
        async with running(link_to(port.path), host):
            port.write(LINE)
            await host.until(lambda: host.ears[0].data == LINE)
        port.unplug()

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        asyncio.run(scenario())
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hanging_up_ends_the_link_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        host = TinyHost(answer=lambda peer: peer.close("its driver fails"))
        async with running(link_to(port.path), host) as task:
            assert await task == f"serial {port.path}: its driver fails"
        assert host.ears[0].losses == ["its driver fails"]
        port.unplug()

    asyncio.run(scenario())


def test_a_peer_that_is_not_wanted_gives_the_port_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        assert "not wanted" in await attempt(link_to(port.path), TinyHost(most=0))
        async with running(link_to(port.path), TinyHost()):
            pass
        port.unplug()

    asyncio.run(scenario())


def test_cancelling_while_the_port_is_being_opened_leaves_it_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        port = port_at(tmp_path / "gps")
        may_open, has_begun = threading.Event(), threading.Event()
        real = serial.Serial.open

        def slow_open(self: serial.Serial) -> None:
            has_begun.set()
            may_open.wait(5)
            real(self)

        monkeypatch.setattr(serial.Serial, "open", slow_open)
        task = asyncio.ensure_future(attempt(link_to(port.path), TinyHost()))
        await eventually(has_begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_open.set()
        monkeypatch.setattr(serial.Serial, "open", real)
        host = TinyHost()

        async def open_at_last() -> None:
            while not host.openings:
                async with running(link_to(port.path), host):
                    pass

        async with asyncio.timeout(5):
            await open_at_last()
        port.unplug()

    asyncio.run(scenario())
