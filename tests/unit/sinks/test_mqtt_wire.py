"""The two packets that we read and write ourselves, held against paho's."""

import asyncio
from typing import Any

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.sinks.mqtt_wire import LoopClient, LoopSocket


class Kept(LoopSocket):
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()

    def send(self, buffer: bytes | bytearray) -> int:
        self.sent += buffer
        return len(buffer)


def client_of(wire: LoopSocket, version: MQTTProtocolVersion) -> LoopClient:
    return LoopClient(
        wire,
        callback_api_version=CallbackAPIVersion.VERSION2,
        client_id="one",
        clean_session=None if version == MQTTProtocolVersion.MQTTv5 else True,
        protocol=version,
    )


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311])
@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_500])
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("retain", [False, True])
def test_a_publish_is_what_paho_would_write(
    version: MQTTProtocolVersion, size: int, qos: int, *, retain: bool
) -> None:
    async def both() -> tuple[bytes, bytes]:
        ours, theirs = Kept(), Kept()
        properties = None
        if version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = b"\x01\x02"
        client = client_of(ours, version)
        packet_id = client.next_id() if qos else 0
        client.send_publish(
            "巡逻/1", b"x" * size, packet_id=packet_id, retain=retain, properties=properties
        )
        reference: Any = client_of(theirs, version)
        reference._sock = theirs
        reference.publish("巡逻/1", b"x" * size, qos, retain, properties)
        reference.loop_write()
        return bytes(ours.sent), bytes(theirs.sent)

    ours, theirs = asyncio.run(both())
    assert ours == theirs


PUBACKS = {
    "short": ("40020001", (1, 0)),
    "nobody listens": ("4003000210", (2, 0x10)),
    "refused": ("40040003 8700", (3, 0x87)),
    "with a reason text": ("400b ffff 97 07 1f 0004 66756c6c", (0xFFFF, 0x97)),
    "a long text": ("40 8901 0004 99 8401 1f 0081" + "61" * 0x81, (4, 0x99)),
}


@pytest.mark.parametrize(("packet", "found"), PUBACKS.values(), ids=PUBACKS)
def test_a_puback_is_read_in_any_split(packet: str, found: tuple[int, int]) -> None:
    data = bytes.fromhex(packet)

    async def split(place: int) -> list[tuple[int, int]]:
        wire = Kept()
        client = client_of(wire, MQTTProtocolVersion.MQTTv5)
        read: list[tuple[int, int]] = []
        client.acknowledged = lambda packet_id, code: read.append((packet_id, code))
        client._sock = wire
        for part in (data[:place], data[place:] + data):
            if part:
                wire.data_received(part)
        return read

    for place in range(len(data)):
        assert asyncio.run(split(place)) == [found, found], f"split after {place} bytes"
