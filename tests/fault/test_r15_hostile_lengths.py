"""R15: two hundred hostile peers at once on one TCP port; every driver: test_r15_every_driver.py.

They declare lengths that never come, never end a frame, send one byte and fall silent, send
nothing but delimiters, begin split messages and never finish them, send noise, or ask and never
read an answer. The process may grow by 1 MiB a peer at most. Within 10 s each of them is hung up on
or understood again. A terminal that behaves is answered all the time.
"""

import asyncio
import contextlib
import multiprocessing
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import pytest

from drivers.jtt808.frames import Deframer, Frame, Part, encode
from drivers.jtt808.messages import Message
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port
from tests.support.runner import serve_links

PEERS = 200
HONEST = 3
HOSTILE_S = 5.0
RECOVERY_S = 10.0
MOST_MIB_A_PEER = 1.0
ANSWERED_S = 1.0  # an honest peer's answer, at worst
SEED = 15
PIECE = 16 * 1024  # of what hostile peers send without end: 13 MB in all each second
PAUSE_S = 0.2  # between two pieces

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Hostility = Callable[["Caller"], Awaitable[None]]


# Whom they attack.


class Victim(Protocol):
    """A process that serves JT/T 808 on ``port``."""

    port: int

    @property
    def pid(self) -> int: ...


class LinksOnly:
    """The links, sessions and drivers, up to an outbox that takes everything."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        table = {
            "transport": "tcp_server",
            "id": "handhelds",
            "driver": "jt808",
            "listen": f"127.0.0.1:{self.port}",
        }
        self._process = multiprocessing.get_context("spawn").Process(
            target=serve_links, args=([table], folder), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def stop(self) -> None:
        self._process.kill()
        self._process.join(10)


class WholeGateway:
    """The service as it is started on the command line."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._gateway = GatewayProcess(
            folder,
            f"""
            [site]
            id = "town"
            [desk]
            listen = "127.0.0.1:{free_port()}"
            [[link]]
            id = "handhelds"
            transport = "tcp_server"
            driver = "jt808"
            listen = "127.0.0.1:{self.port}"
            """,
        )
        self._gateway.start()

    @property
    def pid(self) -> int:
        return self._gateway.pid

    def stop(self) -> None:
        self._gateway.stop()


VICTIMS: dict[str, Callable[[Path], Any]] = {"links": LinksOnly, "gateway": WholeGateway}


@pytest.fixture(params=VICTIMS)
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Victim]:
    running = VICTIMS[request.param](tmp_path)
    yield running
    running.stop()


def memory_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has ended")


# Who attacks.


class Caller:
    """A terminal's connection, honest or not."""

    def __init__(self, number: int, reader: Reader, writer: Writer) -> None:
        self.phone = f"{13_900_000_000 + number:012d}"
        self.random = random.Random(SEED * 1000 + number)
        self.reader = reader
        self.writer = writer
        self._serial = 0
        self._deframer = Deframer()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def heartbeat(self) -> bytes:
        self._serial = (self._serial + 1) & 0xFFFF
        return encode(Frame(Message.HEARTBEAT, self.phone, self._serial, b""))

    async def is_answered(self) -> bool:
        """Send a heartbeat and wait for any whole frame; False where it was hung up on."""
        with contextlib.suppress(ConnectionError):
            await self.send(self.heartbeat())
            while data := await self.reader.read(65_536):
                if any(isinstance(each, bytes) for each in self._deframer.feed(data)):
                    return True
        return False


async def declares_more_than_comes(caller: Caller) -> None:
    # Body length, split flag and count of parts at their largest, then what other protocols would
    # read as lengths of 4 GiB; the frame stays open.
    await caller.send(
        b"\x7e\x02\x00\x23\xff" + bytes.fromhex(caller.phone) + b"\x00\x01\xff\xff\x00\x01"
    )
    while True:
        await caller.send(b"\xff\xff\xff\xff" * 16)
        await asyncio.sleep(PAUSE_S)


async def never_ends_a_frame(caller: Caller) -> None:
    await caller.send(b"\x7e")
    while True:
        await caller.send(b"A" * PIECE)
        await asyncio.sleep(PAUSE_S)


async def sends_a_byte_and_falls_silent(caller: Caller) -> None:
    await caller.send(b"\x7e")
    await caller.send(b"\x02")
    await asyncio.sleep(3600)


async def sends_only_delimiters(caller: Caller) -> None:
    while True:
        await caller.send(b"\x7e" * PIECE)
        await asyncio.sleep(PAUSE_S)


async def never_finishes_what_it_splits(caller: Caller) -> None:
    while True:
        phone = f"{caller.random.randrange(10**11):012d}"
        parts = [
            Frame(Message.POSITION_BATCH, phone, n, bytes(1000), part=Part(32, n))
            for n in range(1, 16)
        ]
        await caller.send(b"".join(encode(part) for part in parts))
        await asyncio.sleep(PAUSE_S)


async def sends_noise(caller: Caller) -> None:
    while True:
        await caller.send(caller.random.randbytes(PIECE // 4))
        await asyncio.sleep(PAUSE_S)


async def never_reads_an_answer(caller: Caller) -> None:
    while True:
        await caller.send(caller.heartbeat() * 50)
        await asyncio.sleep(PAUSE_S)


HOSTILITIES: tuple[Hostility, ...] = (
    declares_more_than_comes,
    never_ends_a_frame,
    sends_a_byte_and_falls_silent,
    sends_only_delimiters,
    never_finishes_what_it_splits,
    sends_noise,
    never_reads_an_answer,
)


async def attack(caller: Caller, hostility: Hostility) -> None:
    """Be hostile, then behave: one is understood or hung up on within ``RECOVERY_S``."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(HOSTILE_S):
            await hostility(caller)
    async with asyncio.timeout(RECOVERY_S):
        await caller.is_answered()


async def behave(caller: Caller, until: asyncio.Event) -> list[float]:
    """Heartbeats, each answered before the next; how long each answer took, in seconds."""
    took = []
    while not until.is_set():
        began = time.monotonic()
        assert await caller.is_answered(), "an honest terminal was hung up on"
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.1)
    return took


class AllHungUp:
    """Connections that end with the test, however it ends."""

    def __init__(self) -> None:
        self._callers: list[Caller] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for caller in self._callers:
            caller.writer.transport.abort()
        await asyncio.sleep(0)

    async def call(self, victim: Victim, number: int) -> Caller:
        deadline = time.monotonic() + 20
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "the victim does not listen"
                await asyncio.sleep(0.05)
            else:
                self._callers.append(Caller(number, reader, writer))
                return self._callers[-1]


@pytest.mark.fault
@pytest.mark.quiet
@pytest.mark.timeout(120)
def test_hostile_peers_cost_little_and_harm_nobody(victim: Victim) -> None:
    async def scenario() -> None:
        async with AllHungUp() as callers:
            await hold(callers)

    async def hold(callers: "AllHungUp") -> None:
        honest = [await callers.call(victim, number) for number in range(HONEST)]
        assert all([await caller.is_answered() for caller in honest])
        is_over = asyncio.Event()
        before_mib = highest_mib = memory_mib(victim.pid)
        async with asyncio.TaskGroup() as group:
            beats = [group.create_task(behave(caller, is_over)) for caller in honest]
            hostile = [await callers.call(victim, 100 + number) for number in range(PEERS)]
            attacks = [
                group.create_task(attack(caller, HOSTILITIES[n % len(HOSTILITIES)]))
                for n, caller in enumerate(hostile)
            ]
            while not all(task.done() for task in attacks):
                highest_mib = max(highest_mib, memory_mib(victim.pid))
                await asyncio.sleep(0.1)
            is_over.set()
        took_s = sorted(each for task in beats for each in task.result())
        print(
            f"seed {SEED}: {PEERS} hostile peers, memory {before_mib:.0f} MiB, at most "
            f"{highest_mib:.0f} MiB; {len(took_s)} honest answers, median "
            f"{took_s[len(took_s) // 2] * 1e3:.0f} ms, worst {took_s[-1] * 1e3:.0f} ms"
        )
        assert highest_mib - before_mib <= MOST_MIB_A_PEER * PEERS
        assert took_s[-1] <= ANSWERED_S

    asyncio.run(scenario())
