"""When certificates end: the date is read from the file, so that a person hears of it in time."""

import ssl
from datetime import UTC, datetime

from gateway.model.quantities import NS_PER_S, Instant
from gateway.settings import Loaded

SOON_S = 30 * 86_400.0  # a certificate that ends sooner is told of
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"

# DER: the tags that are met on the way to the date (X.690; RFC 5280, 4.1).
_SEQUENCE, _VERSION = 0x30, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_LONG = 0x80  # a length of more than one byte
_FIRST_YEAR = 50  # of the two digits of a UTCTime: 1950 to 2049


def certificates_of(loaded: Loaded) -> dict[str, Instant]:
    """When the certificates that the settings name end, by key; left out where none can be read.

    Of several authorities in a file the last one to end counts, of a chain the certificate itself.
    """
    mqtt = loaded.settings.mqtt
    found: dict[str, Instant] = {}
    if not mqtt.enabled:
        return found
    for key, name in (("mqtt.ca_file", mqtt.ca_file), ("mqtt.cert_file", mqtt.cert_file)):
        try:
            ends = ends_in(loaded.path(name).read_text(encoding="utf-8")) if name else []
        except (OSError, ValueError):  # using it will tell why
            continue
        if ends:
            found[key] = max(ends) if key == "mqtt.ca_file" else ends[0]
    return found


def ends_in(pem: str) -> list[Instant]:
    """When each certificate of a PEM file ends, in their order; ValueError for what is none."""
    blocks = [block.partition(_END)[0] for block in pem.split(_BEGIN)[1:]]
    return [_end(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{block}{_END}")) for block in blocks]


def end_text(end: Instant, now: Instant) -> str:
    """For people: that it ends soon, or has ended; "" where there is time enough."""
    left_s = end.seconds_since(now)
    if left_s >= SOON_S:
        return ""
    day = end.text().partition("T")[0]
    if left_s <= 0:
        return f"the certificate ended on {day}; renew it now (docs/operations.md, Certificates)"
    days = int(left_s // 86_400)
    return (
        f"the certificate ends on {day}, in {days} days; "
        "renew it (docs/operations.md, Certificates)"
    )


def _end(der: bytes) -> Instant:
    """``notAfter`` of a certificate."""
    try:
        _, at, _ = _element(der, 0, _SEQUENCE)  # Certificate
        _, at, _ = _element(der, at, _SEQUENCE)  # TBSCertificate
        if der[at] == _VERSION:
            at = _element(der, at)[2]
        for _ in ("serialNumber", "signature", "issuer"):
            at = _element(der, at)[2]
        _, at, _ = _element(der, at, _SEQUENCE)  # Validity
        at = _element(der, at)[2]  # notBefore
        tag, start, stop = _element(der, at)
    except IndexError:
        raise ValueError("the certificate is cut off") from None
    return _instant(tag, der[start:stop].decode("ascii"))


def _element(der: bytes, at: int, wanted: int | None = None) -> tuple[int, int, int]:
    """Tag of the element at ``at``, where its content begins, and where it ends."""
    tag, length, start = der[at], der[at + 1], at + 2
    if wanted is not None and tag != wanted:
        raise ValueError(f"not a certificate: {tag:#x} where {wanted:#x} belongs")
    if length & _LONG:
        count = length - _LONG
        length = int.from_bytes(der[start : start + count])
        start += count
    return tag, start, start + length


def _instant(tag: int, text: str) -> Instant:
    if tag == _UTC_TIME:
        text = f"{19 if int(text[:2]) >= _FIRST_YEAR else 20}{text}"
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"not a time: {tag:#x}")
    at = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return Instant(int(at.timestamp()) * NS_PER_S)
