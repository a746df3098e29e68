"""An operating-system error in the words of the log: ``gone (EIO)``, ``refused (ECONNREFUSED)``."""

import errno
import socket
import ssl
from collections.abc import Iterator

_WORDS = {
    errno.ENOENT: "not there",
    errno.ENODEV: "not there",
    errno.ENXIO: "not there",
    errno.ENOTDIR: "not there",
    errno.EIO: "gone",
    errno.EBADF: "gone",
    errno.EAGAIN: "in use by another program",
    errno.EBUSY: "in use by another program",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOTTY: "not a serial port",
    errno.EISDIR: "is a folder",
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.ETIMEDOUT: "does not answer",
    errno.EHOSTUNREACH: "no route",
    errno.ENETUNREACH: "no route",
    errno.ENETDOWN: "network is down",
    errno.EADDRINUSE: "address in use by another program",
    errno.EADDRNOTAVAIL: "not an address of this machine",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
}
_LONGEST = 200  # characters of a text we did not write ourselves


def errno_of(error: BaseException) -> int | None:
    """The error number of ``error`` or of what it was raised from; None where there is none.

    pyserial wraps ``termios.error``, which is no OSError, in an exception without a number.
    """
    for seen in _chain(error):
        if isinstance(seen, OSError) and isinstance(seen.errno, int):
            return seen.errno
        if seen.args and isinstance(seen.args[0], int) and not isinstance(seen, OSError):
            return seen.args[0]
    return None


def reason(error: BaseException) -> str:
    """What happened, in a few words, with the error's symbol in brackets where it has one."""
    for seen in _chain(error):
        if isinstance(seen, socket.gaierror):
            return f"name not known ({seen.strerror})"
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({seen.verify_message})"
        if isinstance(seen, ssl.SSLError):
            return f"does not speak TLS ({seen.reason or seen})"
    if isinstance(error, TimeoutError) and errno_of(error) is None:
        return "does not answer"
    number = errno_of(error)
    if number is None:
        return str(error)[:_LONGEST] or type(error).__name__
    symbol = errno.errorcode.get(number, str(number))
    words = _WORDS.get(number) or _strerror(number)
    return f"{words} ({symbol})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, then what it was raised from: libraries wrap the system's own."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _strerror(number: int) -> str:
    text = OSError(number, "").strerror or ""
    return text or "failed"
