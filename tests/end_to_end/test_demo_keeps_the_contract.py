"""Everything that a demo town publishes is in docs/asyncapi.json, and fits its schema."""

import re
import subprocess
import sys

import pytest

from tests.support.mqtt_listener import Listener
from tests.support.published import Contract

SECONDS = 8


@pytest.mark.timeout(90)
def test_each_message_of_the_demo_has_its_channel_and_fits_its_schema() -> None:
    words = [sys.executable, "-m", "gateway", "demo", "--seconds", str(SECONDS), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        port = next(
            int(found[1]) for line in demo.stdout if (found := re.search(r"-p (\d+)", line))
        )
        with Listener(port, "#") as listener:
            assert "the demo has ended" in demo.stdout.read()
    contract = Contract()
    payloads = {contract.payload_of(message.topic) for message in listener.messages}
    assert len(listener.messages) > 100
    assert {"position_fix", "unit_status", "link_state", "gateway_info"} <= payloads
    for message in listener.messages:
        assert not contract.faults(message.topic, message.payload)
