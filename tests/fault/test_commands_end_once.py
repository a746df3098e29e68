"""Every command that was queued has exactly one end, however often the gateway is killed."""

import contextlib
import random
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from gateway import control
from gateway.control import Question
from gateway.errors import GatewayError
from gateway.model.identity import EventId, UnitId
from gateway.model.requests import Request
from tests.support.databases import read_only
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port
from tests.unit.cli.test_command import SETTINGS, UNITS, Base

KILLS = 30
COMMANDS = """
enabled = true
allow = ["locate", "text"]
expire_s = 2
answer_s = 1
max_open_per_radio = 50
"""


class Askers:
    """Asks without a pause, whoever is there; keeps what it was promised."""

    def __init__(self, var: Path) -> None:
        self.promised: set[EventId] = set()
        self._var = var
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(unit,)) for unit in ("patrol-1", "away-1")
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, unit: str) -> None:
        question = Question(verb="locate", request=Request(unit_id=UnitId(unit), by="test"))
        while not self._stop.is_set():
            with contextlib.suppress(GatewayError):
                for reply in control.ask(self._var, question, 5):
                    if reply.command is not None:
                        self.promised.add(reply.command.command_id)
                    break
            time.sleep(0.01)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


def events(desk_log: Path) -> tuple[set[str], Counter[str], Counter[str], set[str]]:
    """Ids of what was queued; how many ends each has; how often each way of ending; ids refused."""
    with read_only(desk_log) as connection:
        found = connection.execute(
            "SELECT type, payload FROM event WHERE type IN ('command_queued', 'command_ended')"
        ).fetchall()
    told = [(kind, msgspec.json.decode(payload)) for kind, payload in found]
    queued = {event["event_id"] for kind, event in told if kind == "command_queued"}
    ends = Counter(event["command_id"] for kind, event in told if kind == "command_ended")
    how = Counter(
        f"{event['result']} {event.get('why', '')}".strip()
        for kind, event in told
        if kind == "command_ended"
    )
    refused = {
        event["command_id"]
        for kind, event in told
        if kind == "command_ended" and event["result"] == "refused"
    }
    return queued, ends, how, refused


@pytest.mark.fault
@pytest.mark.timeout(240)
def test_each_queued_command_ends_once_over_kills(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, folder {tmp_path}")
    source = random.Random(seed)
    port = free_port()
    (tmp_path / "units.toml").write_text(UNITS, encoding="utf-8")
    gateway = GatewayProcess(tmp_path, SETTINGS.format(port=port, commands=COMMANDS))
    gateway.start()
    askers = Askers(tmp_path / "var")
    try:
        for _ in range(KILLS):
            gateway.wait_for_port(port)
            base = Base(port)
            base.answers = source.random() < 0.5
            time.sleep(source.uniform(0.1, 0.8))
            gateway.kill()
            with contextlib.suppress(OSError):
                base.close()
            gateway.start()
        gateway.wait_for_port(port)
        askers.end()
        time.sleep(5)  # longer than the longest that one may be open
        gateway.stop()
    finally:
        askers.end()
        gateway.kill()
    queued, ends, how, refused = events(tmp_path / "var" / "desk.db")
    print(f"{len(askers.promised)} promised, {len(queued)} queued, ends: {dict(how)}")
    assert askers.promised <= queued
    assert {ends[each] for each in queued} == {1}
    assert set(ends.values()) == {1}
    assert set(ends) - queued <= refused, "too many were open: refused, and never queued"
    assert how["timed_out the gateway restarted before an answer came"] > 0
