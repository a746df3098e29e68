"""Network addresses: how they are written, and whose bytes are heard."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

_REMEMBERED = 4096  # source addresses whose answer is kept


def address_text(address: tuple[object, ...]) -> str:
    """``host:port`` of a socket address; IPv6 hosts in brackets."""
    host, port = str(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url_of(host: str, port: int) -> str:
    """``http://host:port`` as this machine reaches a listener: a wildcard is no address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound
    return f"http://{address_text((host, port))}"


def is_loopback(host: str) -> bool:
    """True where nobody outside of this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class AllowList:
    """The networks whose addresses may speak to us. An empty list allows nobody."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(text) for text in networks)
        self._check = lru_cache(maxsize=_REMEMBERED)(self._is_inside)

    def allows(self, host: str) -> bool:
        """True where ``host`` (a numeric address) lies in one of the networks."""
        return self._check(host)

    def _is_inside(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # an IPv4 peer on a socket that takes both
        return any(address in network for network in self._networks)
