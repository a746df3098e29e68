"""Which bytes are HRNP packets, worked out from the table alone and without the driver.

Every offset is tried: a packet is 7Eh, a length of 12 to 1500 at offset 8, and 16-bit words whose
sum with end-around carry, check left out, is the complement of the check at offset 10.
"""

from collections.abc import Iterator


def good_frames(data: bytes) -> Iterator[bytes]:
    """Every run of bytes in ``data`` that is a packet with a check that fits."""
    for start, first in enumerate(data):
        if first != 0x7E or len(data) - start < 12:
            continue
        length = data[start + 8] * 256 + data[start + 9]
        packet = data[start : start + length]
        if 12 <= length <= 1500 and len(packet) == length and _fits(packet):
            yield packet


def _fits(packet: bytes) -> bool:
    padded = packet + bytes(len(packet) % 2)
    total = 0
    for at in range(0, len(padded), 2):
        if at != 10:
            total += padded[at] * 256 + padded[at + 1]
            total = total % 65536 + total // 65536
    return packet[10] * 256 + packet[11] == 65535 - total
