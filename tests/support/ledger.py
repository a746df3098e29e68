"""The obligation ledger: what was pressed, what was acknowledged, and a judge.

An emergency that a radio was told to be safe is an obligation. Whatever happens, each must be in
the desk's event log exactly once, and nothing may be there that nobody pressed. The ledger lives
in the test's process and is never a target.

The radios speak JT/T 808 by a few lines of their own, so that the judge shares no code with the
judged.
"""

import asyncio
import struct
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from pathlib import Path

import msgspec

from tests.support.databases import read_only

RETRY_S = 0.5
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
Press = tuple[str, int]  # phone, number of the press


class Ledger:
    """Issued and acknowledged presses."""

    def __init__(self) -> None:
        self.issued: set[Press] = set()
        self.obligations: set[Press] = set()

    def judge(self, desk_log: Path) -> list[str]:
        """What is wrong with the desk's event log; empty where every promise was kept."""
        delivered = delivered_presses(desk_log)
        counts = Counter(delivered)
        faults = [f"lost: {press}" for press in sorted(self.obligations - counts.keys())]
        faults += [f"doubled: {press} x{n}" for press, n in counts.items() if n > 1]
        faults += [f"never pressed: {press}" for press in counts.keys() - self.issued]
        by_radio: dict[str, list[int]] = defaultdict(list)
        for phone, number in delivered:
            by_radio[phone].append(number)
        faults += [f"out of order: {p}" for p, seen in by_radio.items() if seen != sorted(seen)]
        return faults


def delivered_presses(desk_log: Path) -> list[Press]:
    """The presses in the desk's event log, in the order they were stored."""
    with read_only(desk_log) as connection:
        rows = connection.execute(
            "SELECT payload FROM event WHERE type = 'emergency_raised' ORDER BY seq"
        ).fetchall()
    found = []
    for (payload,) in rows:
        event = msgspec.json.decode(payload)
        pressed_at = datetime.fromisoformat(event["fix"]["fix_at"])
        found.append(
            (event["radio_id"].partition(":")[2], round((pressed_at - EPOCH).total_seconds()) // 2)
        )
    return found


class Radio:
    """A terminal that presses, waits for its acknowledgement, clears its alarm and presses again.

    Device time marks each frame: press n is stamped 2n seconds after EPOCH, the clearing report 2n
    + 1.
    """

    def __init__(self, phone: str, port: int, ledger: Ledger) -> None:
        self.phone = phone
        self._port = port
        self._ledger = ledger
        self._serial = 0
        self._wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, presses: int, first: int = 0) -> None:
        """Press so many times; returns when the last one is acknowledged and cleared."""
        for number in range(first, first + presses):
            press = (self.phone, number)
            self._ledger.issued.add(press)
            await self._until_acknowledged(self._report(2 * number, alarm=1))
            self._ledger.obligations.add(press)
            await self._until_acknowledged(self._report(2 * number + 1, alarm=0))
        self.hang_up()

    async def _until_acknowledged(self, frame: bytes) -> None:
        while True:
            try:
                reader, writer = await self._connected()
                writer.write(frame)
                await writer.drain()
                async with asyncio.timeout(RETRY_S):
                    if await self._is_answered(reader):
                        return
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self.hang_up()
                await asyncio.sleep(0.01)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._wire is None:
            self._wire = await asyncio.open_connection("127.0.0.1", self._port)
        return self._wire

    async def _is_answered(self, reader: asyncio.StreamReader) -> bool:
        """Read frames until the general answer 8001 to our serial number comes."""
        while True:
            await reader.readuntil(b"\x7e")
            body = (await reader.readuntil(b"\x7e"))[:-1]
            body = body.replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")
            if body[:2] == b"\x80\x01" and body[12:14] == struct.pack(">H", self._serial):
                return body[16] == 0

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._wire is not None:
            self._wire[1].close()
            self._wire = None

    def _report(self, second: int, *, alarm: int) -> bytes:
        self._serial = (self._serial + 1) & 0xFFFF
        stamp = (EPOCH + timedelta(seconds=second, hours=8)).strftime("%y%m%d%H%M%S")
        body = struct.pack(">IIIIHHH", alarm, 2, 22_940_000, 113_880_000, 12, 36, 87)
        body += bytes.fromhex(stamp)
        head = struct.pack(">HH", 0x0200, len(body)) + bytes.fromhex(self.phone)
        raw = head + struct.pack(">H", self._serial) + body
        raw += bytes([reduce(xor, raw)])
        return b"\x7e" + raw.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02") + b"\x7e"


async def wait_until_delivered(ledger: Ledger, desk_log: Path, limit_s: float) -> None:
    """Until every obligation is in the log, or the limit has passed (the judge says which)."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if desk_log.exists() and ledger.obligations <= set(delivered_presses(desk_log)):
            return
        await asyncio.sleep(0.1)
