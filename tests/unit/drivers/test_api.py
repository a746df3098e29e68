"""What a manifest promises whoever makes a codec from it."""

from collections.abc import Sequence

from drivers.api import CodecOptions, Driver, Moment, Output, Transport


class Silent:
    """A codec that hears and says nothing."""

    def __init__(self, options: CodecOptions, link_id: str) -> None:
        self.met: list[str] = []

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        return ()

    def flush(self, now: Moment) -> Sequence[Output]:
        return ()

    def accept(self, receipt: int) -> None:
        return

    def outgoing(self) -> Sequence[bytes]:
        return ()

    def next_deadline(self) -> float | None:
        return None

    def expire(self, now: Moment) -> Sequence[Output]:
        return ()


class Curious(Silent):
    """One that wants to know where its peer is."""

    def meet(self, peer: str) -> None:
        self.met.append(peer)


def driver_of(codec: type[Silent]) -> Driver[CodecOptions]:
    return Driver(
        name="test",
        title="test",
        title_zh="test",
        spec="test",
        transports=frozenset({Transport.UDP}),
        options=CodecOptions,
        codec=codec,
        max_frame=1,
    )


def test_a_codec_that_asks_for_it_is_told_where_its_peer_is() -> None:
    codec = driver_of(Curious).new_codec({}, "link-1", "12.0.0.11:4005")
    assert isinstance(codec, Curious)
    assert codec.met == ["12.0.0.11:4005"]


def test_nobody_is_told_a_peer_that_is_not_known() -> None:
    codec = driver_of(Curious).new_codec({}, "link-1")
    assert isinstance(codec, Curious)
    assert codec.met == []


def test_a_codec_that_does_not_ask_is_made_all_the_same() -> None:
    assert isinstance(driver_of(Silent).new_codec({}, "link-1", "12.0.0.11:4005"), Silent)
