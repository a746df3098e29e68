"""A process of JT/T 808 terminals that report as fast as they are answered, or at a steady rate.

``python -m tests.bench.terminals --port P --connections 50 --window 40`` keeps so many reports of
every connection unanswered: the next ones leave when the 8001 of earlier ones has come, so that
what is measured is sustained and nothing gathers in buffers. With ``--rate R`` all connections
together send R reports a second, answered or not.

The frames are made by a few lines of its own and in blocks, since this process shares the machine
with what it measures. All reports differ: a copy would be known as one and cost less.
"""

import argparse
import os
import selectors
import socket
import struct
import sys
import time
from functools import lru_cache

from tests.bench.children import say

FIRST_PHONE = 13_800_000_000
BLOCK = 128  # frames made at a time
BEGIN_BEFORE_S = 3 * 3600  # device time of the first report; one second from each to the next
TICK_S = 0.01
READ_BYTES = 65_536
BODY = struct.Struct(">HH6sHIIIIHHH6sBBIBBB")  # header, position, mileage, satellites
BODY_BYTES = BODY.size - 12
FIXED = 2 | 1 << 19


def phone_of(number: int) -> str:
    """The number of a terminal, 12 digits."""
    return f"{FIRST_PHONE + number:012d}"


def frame(phone: bytes, serial: int, device_s: int, number: int, alarm: int = 0) -> bytes:
    """A 0200 report; ``device_s`` is seconds since 1970, ``number`` moves the place."""
    plain = BODY.pack(
        0x0200,
        BODY_BYTES,
        phone,
        serial & 0xFFFF,
        alarm,
        FIXED,
        22_900_000 + number * 7 % 100_000,
        113_800_000 + number * 11 % 100_000,
        12,
        number % 80,
        number % 360,
        _bcd_time(device_s),
        0x01,
        4,
        number & 0xFFFFFFFF,
        0x31,
        1,
        9,
    )
    check = int.from_bytes(plain, "big")
    for shift in (256, 128, 64, 32, 16, 8):
        check ^= check >> shift
    plain += bytes((check & 0xFF,))
    if b"\x7d" in plain or b"\x7e" in plain:
        plain = plain.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02")
    return b"\x7e" + plain + b"\x7e"


@lru_cache(maxsize=4096)
def _bcd_time(device_s: int) -> bytes:
    return bytes.fromhex(time.strftime("%y%m%d%H%M%S", time.gmtime(device_s + 8 * 3600)))


class Connection:
    """One TCP connection and the terminal behind it."""

    def __init__(self, port: int, number: int, begin_s: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)  # noqa: FBT003 - its own name for it
        self._phone = bytes.fromhex(phone_of(number))
        self._begin_s = begin_s
        self._number = number
        self._made = 0
        self._frames: list[bytes] = []
        self._unsent = b""
        self._flags = 0
        self.sent = 0
        self.answered = 0

    def send(self, count: int) -> None:
        """Send the next ``count`` reports."""
        while len(self._frames) < count:
            self._make()
        wire = self._unsent + b"".join(self._frames[:count])
        del self._frames[:count]
        self.sent += count
        try:
            written = self.socket.send(wire)
        except BlockingIOError:
            written = 0
        self._unsent = wire[written:]

    def answers(self) -> int:
        """Read; how many reports were answered since the last call."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the gateway hung up")
        self._flags += data.count(b"\x7e")
        done = self._flags // 2
        new = done - self.answered
        self.answered = done
        return new

    def _make(self) -> None:
        begin = self._made
        self._made += BLOCK
        self._frames += [
            frame(self._phone, n, self._begin_s + n, self._number * 9973 + n)
            for n in range(begin, begin + BLOCK)
        ]


class Crowd:
    """All connections, in one loop."""

    def __init__(self, port: int, first: int, connections: int, window: int, rate: float) -> None:
        begin_s = int(time.time()) - BEGIN_BEFORE_S
        self._window = window
        self._rate = rate
        self._connections = [
            Connection(port, first + number, begin_s) for number in range(connections)
        ]
        self._turn = 0
        self._due = 0.0

    def run(self) -> None:
        """Until the standard input is closed."""
        with selectors.DefaultSelector() as waiting:
            for connection in self._connections:
                waiting.register(connection.socket, selectors.EVENT_READ, connection)
            waiting.register(sys.stdin.buffer, selectors.EVENT_READ, None)
            say(connections=len(self._connections))
            self._begin()
            while True:
                ready = waiting.select(self._pause())
                for key, _ in ready:
                    if key.data is None:
                        if not self._obey():
                            return
                        continue
                    count = key.data.answers()
                    if count and not self._rate:
                        key.data.send(count)

    def _begin(self) -> None:
        self._due = time.monotonic()
        if not self._rate:
            for connection in self._connections:
                connection.send(self._window)

    def _pause(self) -> float | None:
        """Seconds until the next reports are due; sends those that are."""
        if not self._rate:
            return None
        now = time.monotonic()
        count = int((now - self._due) * self._rate)
        if count:
            self._due += count / self._rate
            self._spread(count)
        return TICK_S if self._rate * TICK_S >= 1 else 0.5 / self._rate

    def _spread(self, count: int) -> None:
        """The next connections in turn each send one."""
        everyone = self._connections
        for _ in range(count):
            everyone[self._turn].send(1)
            self._turn = (self._turn + 1) % len(everyone)

    def _obey(self) -> bool:
        if not os.read(sys.stdin.fileno(), 4096):
            return False
        say(
            sent=sum(connection.sent for connection in self._connections),
            answered=sum(connection.answered for connection in self._connections),
            cpu_s=time.process_time(),
        )
        return True


def main() -> None:
    """Report until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--window", type=int, default=40)
    parser.add_argument("--rate", type=float, default=0.0)
    wanted = parser.parse_args()
    Crowd(wanted.port, wanted.first, wanted.connections, wanted.window, wanted.rate).run()


if __name__ == "__main__":
    main()
