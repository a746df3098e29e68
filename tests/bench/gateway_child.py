"""The gateway in a process of its own, which tells its counters and its processor time when asked.

``python -m tests.bench.gateway_child SETTINGS [--without desk,mqtt]``: everything is built and run
as ``pdt-gateway run`` does it; ``--without`` takes sinks away, to see what they cost.
"""

import argparse
import asyncio
import gc
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gateway import logs
from gateway.app import Gateway, allow_many_peers
from gateway.catalog import Catalog
from gateway.check import check
from gateway.runtime.health import memory_mib
from tests.bench.children import say


def processor_s() -> dict[str, float]:
    """Processor seconds so far, by thread."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
    }


def peak_mib() -> float:
    """The most resident memory that this process ever had, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def report(gateway: Gateway) -> None:
    """Answer ``report``."""
    dispatcher = gateway.facts.dispatcher
    assert dispatcher is not None
    account = gateway.counters.account()
    states = {state.name: state for state in dispatcher.states()}
    say(
        stored=account.stored,
        dropped=sum(account.dropped.values()),
        difference=account.difference,
        delivered={name: sum(state.delivered.values()) for name, state in states.items()},
        behind={name: sum(state.lag.values()) for name, state in states.items()},
        set_aside=sum(state.set_aside for state in states.values()),
        commits=gateway.outbox.stats().commits,
        cpu_s=time.process_time(),
        threads_s=processor_s(),
        memory_mib=memory_mib(),
        peak_mib=peak_mib(),
        lag_ms=gateway.lag.worst_ms,
    )


async def serve(gateway: Gateway) -> None:
    """Run until the standard input is closed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def obey() -> None:
        if os.read(sys.stdin.fileno(), 4096):
            report(gateway)
        else:
            loop.remove_reader(sys.stdin)
            stop.set()

    def ready(served: Gateway) -> None:
        loop.add_reader(sys.stdin, obey)
        facts: dict[str, Any] = {"sinks": [sink.name for sink in served.sinks]}
        if served.desk is not None:
            facts["url"] = served.desk.url
            facts["sign_in"] = served.first_sign_in_url
        gc.collect()
        gc.freeze()  # as the service does
        say(**facts)

    await gateway.run(stop, ready)


def main() -> None:
    """Build the gateway from its settings, as the command line does, and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", type=Path)
    parser.add_argument("--without", default="")
    wanted = parser.parse_args()
    catalog = Catalog.scan()
    loaded, roster, _ = check(wanted.settings, catalog)
    logs.set_up("warning", loaded.settings.log.format)
    allow_many_peers()
    gateway = Gateway(loaded, roster, catalog)
    gateway.sinks = [sink for sink in gateway.sinks if sink.name not in wanted.without.split(",")]
    asyncio.run(serve(gateway))


if __name__ == "__main__":
    main()
