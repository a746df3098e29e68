"""Why a broker is not reached or lets us not in, in words that say what to do about it."""

import os
import ssl

from paho.mqtt.reasoncodes import ReasonCode

BAD_PROTOCOL, BAD_LOGIN, NOT_AUTHORIZED = 0x84, 0x86, 0x87

NO_TLS = "the port does not speak TLS: wrong mqtt.port, or take ca_file away"

# What the other side's TLS says in an alert, and what a person can do about it. In order: the
# first that is found counts.
TLS_HINTS = (
    ("certificate has expired", "the broker's certificate is out of date: renew it there"),
    ("not yet valid", "the broker's certificate is not valid yet: compare the clocks"),
    ("Hostname mismatch", "mqtt.host must be a name in the broker's certificate"),
    ("IP address mismatch", "mqtt.host must be an address in the broker's certificate"),
    ("certificate verify failed", "mqtt.ca_file must hold the authority of the broker's one"),
    ("CERTIFICATE_REQUIRED", "the broker asks for our certificate: set mqtt.cert_file, key_file"),
    ("CERTIFICATE_EXPIRED", "our certificate is out of date: renew mqtt.cert_file"),
    ("UNKNOWN_CA", "the broker does not know the authority that signed mqtt.cert_file"),
    ("BAD_CERTIFICATE", "the broker does not accept mqtt.cert_file"),
    ("CERTIFICATE_REVOKED", "our certificate was withdrawn: make a new mqtt.cert_file"),
    ("WRONG_VERSION_NUMBER", NO_TLS),
    ("HANDSHAKE_FAILURE", "the broker asks for our certificate, or for another TLS version"),
)


def of_error(error: Exception, *, is_tls: bool = False) -> str:
    """What went wrong below MQTT: the network's or TLS's word, with a hint where there is one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _hinted(f"certificate verify failed: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return _hinted(f"TLS: {error.reason or error}")
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno and text.startswith("Connect call failed"):
        text = os.strerror(error.errno)  # asyncio hides the reason
    if is_tls and isinstance(error, ConnectionResetError):
        return f"{text} while TLS began; {NO_TLS}"
    return text


def of_hanging_up(*, is_tls: bool) -> str:
    """What a broker may mean that hangs up without a word.

    With TLS 1.3 we speak before it has looked at our certificate, and its answer to that can be
    lost behind the reset of the connection.
    """
    if is_tls:
        return (
            "perhaps the broker asks for our certificate (mqtt.cert_file, key_file) "
            "or does not accept it; its log says"
        )
    return "if it wants TLS, set mqtt.ca_file"


def of_refusal(reason: ReasonCode, user: str, protocol: str) -> str:
    """What the broker said in CONNACK, with what to look at."""
    text = str(reason)
    if reason.value in {BAD_LOGIN, NOT_AUTHORIZED}:
        return f"{text}; check mqtt.user ({user!r}) and mqtt.password_file"
    if reason.value == BAD_PROTOCOL:
        return f'{text}; it does not speak MQTT {protocol}: set mqtt.protocol to "auto" or "3.1.1"'
    return text


def _hinted(text: str) -> str:
    for mark, hint in TLS_HINTS:
        if mark in text:
            return f"{text}; {hint}"
    return text
