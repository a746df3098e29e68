"""The insides of frames made into frames whose lengths and checks fit, for the fuzzer.

An input is cut into pieces, each led by its length in one byte; each piece becomes one frame. The
codec then sees well-formed frames with any contents, which is where most of its code is. What kind
of message a frame is, is picked by one byte from those that have a name: chance never meets them.
"""

from collections.abc import Callable, Iterator

from drivers.hytera.hdap import Message as HdapMessage
from drivers.hytera.hrnp_frames import Frame as HrnpFrame
from drivers.hytera.hrnp_frames import Opcode
from drivers.hytera.hstrp_frames import Kind, Packet
from drivers.hytera.names import MESSAGES
from drivers.jtt808.frames import Frame as Jt808Frame
from drivers.jtt808.frames import encode
from drivers.jtt808.messages import Message as Jt808Id
from drivers.wire import xor8

HOST, RADIO = 0x20, 0x10
PHONE_2013, PHONE_2019 = "013800138000", "00000000013800138000"
HDAP_IDS, JT808_IDS = tuple(MESSAGES), tuple(Jt808Id)
CONNECTED = HrnpFrame(Opcode.ACCEPT, RADIO, HOST, 0)


def pieces(data: bytes) -> Iterator[bytes]:
    """The pieces of an input."""
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        yield data[at + 1 : end]
        at = end


def _message(piece: bytes) -> bytes:
    """An HDAP message: which, payload."""
    service, opcode = HDAP_IDS[piece[0] % len(HDAP_IDS)] if piece else HDAP_IDS[0]
    return HdapMessage(service, opcode, piece[1:]).pack()


def hrnp(data: bytes) -> bytes:
    """HRNP data packets behind an accepted connection, one HDAP message each."""
    frames = [
        HrnpFrame(Opcode.DATA, RADIO, HOST, number, _message(piece))
        for number, piece in enumerate(pieces(data), start=1)
    ]
    return b"".join(frame.pack() for frame in [CONNECTED, *frames])


def hstrp(data: bytes) -> bytes:
    """One HSTRP packet, since a datagram is one: number, then the HDAP messages of the pieces."""
    messages = b"".join(_message(piece) for piece in pieces(data[1:]))
    return Packet(Kind(0), data[0] if data else 0, b"", messages).pack()


def jt808(data: bytes) -> bytes:
    """JT/T 808 messages: which, body; from 80h on in the 2019 form."""
    frames = []
    for serial, piece in enumerate(pieces(data)):
        which, body = (piece[0], piece[1:]) if piece else (0, b"")
        is_2019 = which >= 0x80
        phone, version = (PHONE_2019, 1) if is_2019 else (PHONE_2013, None)
        message = JT808_IDS[(which & 0x7F) % len(JT808_IDS)]
        frames.append(encode(Jt808Frame(message, phone, serial, body, version)))
    return b"".join(frames)


def nmea(data: bytes) -> bytes:
    """Sentences of NMEA 0183, with whatever bytes between ``$`` and the check."""
    return b"".join(b"$%s*%02X\r\n" % (piece, xor8(piece)) for piece in pieces(data))


SEALS: dict[str, Callable[[bytes], bytes]] = {
    "hytera_hrnp": hrnp,
    "hytera_hstrp": hstrp,
    "jt808": jt808,
    "nmea0183": nmea,
}
