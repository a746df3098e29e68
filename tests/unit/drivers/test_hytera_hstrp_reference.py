"""Every published HSTRP packet agrees, field by field, with what the driver reads."""

from typing import Any

from drivers.api import Reject
from drivers.hytera_hdap import read_messages
from drivers.hytera_hstrp import DRIVER
from drivers.hytera_hstrp_frames import CHANNEL, DEVICE, Kind, Packet, pack_options, read_options
from tests.support.reference import reference_vectors
from tests.unit.drivers.test_hytera_hrnp import moment
from tests.unit.drivers.test_hytera_reference import Line, differences, message_facts

WRONG_CHECK = {
    "322a4c90677a",  # its text was changed by its publisher, its check was not
    "37c0e83ec8f8",  # a capture of a dispatcher's program that computed it wrongly
}
NO_TABLE = {"button_request", "button_reply", "channel_status_request"}  # opcodes that are not read


def packet_facts(data: bytes) -> dict[str, Any]:
    packet = Packet.unpack(data)
    kinds = (Kind.OPTIONS, Kind.REJECT, Kind.CLOSE, Kind.CONNECT, Kind.HEARTBEAT, Kind.ACK)
    facts: dict[str, Any] = {
        "type": f"0x{packet.kind:02X}",
        "flags": [(kind.name or "").lower() for kind in kinds if packet.kind & kind],
        "sn": packet.number,
    }
    for command, value in read_options(packet.options):
        if command == DEVICE:
            facts["device_id"] = int.from_bytes(value, "big")
        elif command == CHANNEL:
            facts["channel_id"] = value[0]
        else:
            facts[f"opt_{command}"] = value.hex()
    if packet.payload:
        (message,) = read_messages(packet.payload)
        facts["payload"] = message_facts(message)
    return facts


def judge(line: dict[str, Any]) -> Line:
    found, expect = packet_facts(bytes.fromhex(line["hex"])), line["expect"]
    named = expect.get("payload", {}).get("message", "")
    if named in NO_TABLE:
        payload = expect["payload"]
        kept = {"service", "reliable", "length", "checksum", "checksum_ok", "opcode", "payload_hex"}
        expect = expect | {"payload": {key: payload[key] for key in kept}}
    wrong = "; ".join(differences(found, expect))
    verdict = "differ" if wrong else "not handled" if named in NO_TABLE else "agree"
    return Line(line["id"], named or "/".join(expect["flags"]), verdict, wrong)


def test_every_field_of_every_reference_packet_agrees() -> None:
    judged = [judge(line) for line in reference_vectors("hytera_hstrp") if "expect" in line]
    for each in judged:
        print(f"{each.own_id}  {each.message:24} {each.verdict:12} {each.reason}")
    counts = {v: sum(each.verdict == v for each in judged) for v in ("agree", "not handled")}
    print(counts)
    assert [each for each in judged if each.verdict == "differ"] == []
    assert counts == {"agree": 31, "not handled": 5}


def test_reference_packets_come_back_byte_by_byte() -> None:
    for line in reference_vectors("hytera_hstrp"):
        data = bytes.fromhex(line["hex"])
        packet = Packet.unpack(data)
        assert packet.pack() == data
        assert pack_options(*read_options(packet.options)) == packet.options
        if line["id"] in WRONG_CHECK:
            continue
        for message in read_messages(packet.payload):
            assert message.pack() == packet.payload


def test_every_reference_packet_with_a_right_check_is_taken() -> None:
    for line in reference_vectors("hytera_hstrp"):
        codec = DRIVER.new_codec({}, "repeater-1")
        outputs = codec.receive(bytes.fromhex(line["hex"]), moment(0))
        rejected = [output.reason for output in outputs if isinstance(output, Reject)]
        assert rejected == (["checksum"] if line["id"] in WRONG_CHECK else []), line["id"]
