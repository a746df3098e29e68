"""The gateway of the compose file at its address in Docker's network, asked from other addresses.

    unshare --net python -m tests.support.compose_box SETTINGS < QUESTIONS

Run in a network of its own, where every address that is wanted is this machine's. A question is
``["terminal", SOURCE]`` or ``["page", SOURCE, PATH, HEADERS]``; the answers come as one JSON list:
whether the terminal is still heard after a moment, or the status of the page.
"""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

HERE = "172.31.80.2"
PAGE, TERMINALS = 8080, 10808
START_S, MOMENT_S = 30.0, 1.0


def reach(port: int, source: str) -> socket.socket:
    """A connection to the gateway from this address."""
    return socket.create_connection((HERE, port), timeout=MOMENT_S, source_address=(source, 0))


def terminal(source: str) -> bool:
    """Whether a terminal there is left in peace."""
    with reach(TERMINALS, source) as connection:
        try:
            return bool(connection.recv(1))
        except TimeoutError:
            return True
        except ConnectionError:
            return False


def page(source: str, path: str, headers: dict[str, str]) -> int:
    """The status of a page for who asks there."""
    client = http.client.HTTPConnection(HERE, PAGE, timeout=10, source_address=(source, 0))
    try:
        client.request("GET", path, headers=headers)
        return client.getresponse().status
    finally:
        client.close()


def wait(gateway: subprocess.Popen[bytes]) -> None:
    """Until both ports are open."""
    end = time.monotonic() + START_S
    for port in (PAGE, TERMINALS):
        while True:
            try:
                reach(port, HERE).close()
                break
            except OSError:
                if gateway.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)


def main() -> None:
    """Set the network up, start the gateway, ask."""
    questions: list[list[Any]] = json.load(sys.stdin)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in sorted({HERE, *(question[1] for question in questions)} - {"127.0.0.1"}):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    command = [sys.executable, "-m", "gateway", "run", "--config", sys.argv[1]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr) as gateway:
        try:
            wait(gateway)
            ask: dict[str, Callable[..., Any]] = {"terminal": terminal, "page": page}
            print(json.dumps([ask[kind](*given) for kind, *given in questions]))
        finally:
            gateway.terminate()


if __name__ == "__main__":
    main()
