"""The ARS driver and an emulated radio, and what vectors alone cannot say."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drivers.api import Command, Heard, Moment, Outcome, Report, Verb
from drivers.moto_ars import DRIVER
from drivers.motorola.peer import radio_at
from gateway.model.events import AnyEvent, RadioRegistered
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from hil_tests.devices.moto_ars import MotoArsDevice
from tests.support.runner import Runtime

START = Instant.parse("2026-05-01T08:00:00Z")


def moment(mono: float) -> Moment:
    return Moment(mono, Instant(START + round(mono * NS_PER_S)))


def is_registration(event: AnyEvent) -> bool:
    return isinstance(event, RadioRegistered)


def codec_of(peer: str = "12.0.0.11:4005", **options: Any) -> Any:
    return DRIVER.new_codec(options, "link-1", peer)


@pytest.mark.parametrize(
    ("peer", "radio"),
    [
        ("12.0.0.11:4005", "motorola:11"),
        ("12.255.255.255:1", "motorola:16777215"),
        ("[::ffff:12.0.4.210]:4005", "motorola:1234"),
        ("12.0.0.0:4005", None),
        ("192.168.10.1:4005", None),
        ("[fe80::1]:4005", None),
        ("/dev/ttyUSB0", None),
        ("somewhere.rec", None),
    ],
)
def test_an_address_in_the_radio_network_names_a_radio(peer: str, radio: str | None) -> None:
    assert radio_at(peer, 12) == radio


def test_another_radio_network_may_be_set() -> None:
    codec = codec_of("127.0.0.11:4005", radio_network=127)
    (report,) = codec.receive(bytes.fromhex("000131"), moment(0))
    assert report.event.radio_id == "motorola:11"


def test_the_address_is_a_stronger_word_than_the_device_id() -> None:
    codec = codec_of("12.0.0.12:4005")
    (report,) = codec.receive(bytes.fromhex("0007f0200231310000"), moment(0))
    assert report.event.radio_id == "motorola:12"
    assert report.event.detail == "initial, device 11"


def test_a_radio_named_by_itself_keeps_its_name_when_it_leaves() -> None:
    codec = codec_of("10.0.0.1:4005")
    codec.receive(bytes.fromhex("0007f0200231310000"), moment(0))
    (report,) = codec.receive(bytes.fromhex("000131"), moment(1))
    assert report.event.radio_id == "motorola:11"


def test_a_person_who_signs_off_does_not_switch_the_radio_off() -> None:
    codec = codec_of()
    codec.receive(bytes.fromhex("0007f0200231310000"), moment(0))
    assert codec.receive(bytes.fromhex("000136"), moment(1)) == [Heard(RadioId("motorola:11"))]
    answered = codec.receive(bytes.fromhex("00013f"), moment(2))
    assert answered == [Heard(RadioId("motorola:11"))], "it is registered still"


def test_a_registration_that_is_repeated_has_one_mark_until_the_radio_leaves() -> None:
    codec = codec_of()
    registration = bytes.fromhex("0007f0200231310000")

    def mark(mono: float) -> Any:
        (report,) = codec.receive(registration, moment(mono))
        assert isinstance(report, Report)
        return report.same_as

    first = mark(0)
    assert mark(5) == first
    assert mark(60) != first
    second = mark(61)
    codec.receive(bytes.fromhex("000131"), moment(62))
    assert mark(63) != second


def test_a_password_is_shown_to_nobody() -> None:
    data = bytes.fromhex("000cf020023131000573656372") + b"e"
    (report,) = codec_of().receive(data, moment(0))
    assert DRIVER.explain is not None
    assert "secr" not in f"{report.event} {DRIVER.explain(data)}"
    assert b"secre".hex() not in f"{DRIVER.explain(data)}"


def test_an_emulated_radio_registers_renews_answers_and_leaves() -> None:
    radio, codec, events, mono = MotoArsDevice(11), codec_of(), [], 0.0

    def run(seconds: float) -> None:
        nonlocal mono
        for _ in range(round(seconds)):
            mono += 1.0
            radio.tick(moment(mono))
            for frame in radio.outgoing():
                for output in codec.receive(frame, moment(mono)):
                    events.append(output)
                    if isinstance(output, Report) and output.receipt is not None:
                        codec.accept(output.receipt)
            for frame in codec.outgoing():
                radio.receive(frame, moment(mono))

    run(3)
    assert radio.is_registered
    run(1700)
    assert [one.event.detail for one in events] == ["initial, device 11", "refresh, device 11"]
    radio.switch_off()
    run(1)
    assert type(events[-1].event).__name__ == "RadioDeregistered"


def test_questions_to_one_radio_are_bounded() -> None:
    codec = codec_of()
    outcomes = []
    for order in range(20):
        command = Command(order, RadioId("motorola:11"), Verb.CHECK, 30.0)
        outcomes += codec.send(command, moment(0))
    assert outcomes == [
        Outcome(n, "refused", "16 questions to this radio wait for their answers")
        for n in range(16, 20)
    ]


@pytest.mark.parametrize("refresh_min", [0, 45, 7680])
def test_a_time_that_cannot_be_told_is_refused(refresh_min: int) -> None:
    with pytest.raises(msgspec.ValidationError, match="refresh_min"):
        DRIVER.new_codec({"refresh_min": refresh_min}, "link-1")


def test_a_message_is_told_field_by_field() -> None:
    assert DRIVER.explain is not None
    rows = DRIVER.explain(bytes.fromhex("0007f0200231310000"))
    assert [row.name for row in rows][:4] == ["length", "header", "second header", "device"]
    assert rows[1].value == "register more acknowledge priority control"
    assert DRIVER.explain(b"")[-1].problem


def test_over_a_real_socket_the_source_address_is_the_radio(tmp_path: Path) -> None:
    table = {
        "transport": "udp",
        "id": "ars",
        "driver": "moto_ars",
        "listen": "127.0.0.1:0",
        "allow": ["127.0.0.0/8"],
        "options": {"radio_network": 127},
    }

    async def story() -> None:
        runtime = Runtime([table], tmp_path)
        running = asyncio.ensure_future(runtime.run())
        loop = asyncio.get_running_loop()
        link: Any = runtime.runners["ars"]._link
        async with asyncio.timeout(5):
            while link.bound is None:
                await asyncio.sleep(0.01)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.bind(("127.0.0.11", 0))
                wire.settimeout(0)
                heard = asyncio.ensure_future(runtime.next_event(is_registration))
                await asyncio.sleep(0)
                await loop.sock_sendto(wire, bytes.fromhex("0007f0200231310000"), link.bound)
                event = await heard
                assert event.radio_id == "motorola:11"
                assert await loop.sock_recv(wire, 100) == bytes.fromhex("0002bf01")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(story())
