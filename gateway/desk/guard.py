"""Who is asking, and may they: session, roles, CSRF token, origin, host.

Every request passes here before its body is read. Nothing is allowed by being forgotten: a route
without an entry in the table does not exist.
"""

import hmac
import ipaddress
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.addresses import AllowList
from gateway.desk.refusal import RefusedError
from gateway.eventlog.accounts import Account, Role, WebSession
from gateway.model.quantities import NS_PER_S, Instant

ADMIN_IDLE_S = 1800.0  # without a request for so long the admin role sleeps until the next sign-in
TOUCH_S = 60.0  # how precisely the last request of a session is kept
HISTORY_TECHNICIAN_S = 3600.0
MAX_ADDRESS = 64  # of what a proxy calls its peer

COOKIE = "pdt_session"
SECURE_COOKIE = "__Host-pdt_session"  # with it browsers insist on Secure and no domain


class Principal(NamedTuple):
    """A signed-in person, with the roles in force now and the session's CSRF token."""

    account: Account
    session: WebSession
    roles: frozenset[Role]
    csrf_token: str

    @property
    def name(self) -> str:
        """How the person is named in events and in the audit log."""
        return self.account.name


class HistoryScope(NamedTuple):
    """What of the past may be seen: from ``since`` on, of ``team`` alone where one is given."""

    since: Instant
    team: str | None


def principal(session: WebSession, token: str, now: Instant) -> Principal:
    """The person behind a session in force."""
    roles = frozenset(session.account.roles)
    if is_asleep(session, now):
        roles -= {"admin"}
    return Principal(session.account, session, roles, csrf_token(token))


def is_asleep(session: WebSession, now: Instant) -> bool:
    """True once the session was idle for ADMIN_IDLE_S; stays so, for it is not touched any more.

    Only the admin role sleeps: a dispatcher who watches quietly through the night keeps the alarms.
    """
    return now.seconds_since(session.seen_at) >= ADMIN_IDLE_S and "admin" in session.account.roles


def history_scope(who: Principal, start: Instant, now: Instant) -> HistoryScope:
    """What of the time from ``start`` on ``who`` may see; raises RefusedError for nothing."""
    if who.roles & {"dispatcher", "admin"}:
        return HistoryScope(start, None)
    if "technician" in who.roles:
        last_hour = Instant(now - int(HISTORY_TECHNICIAN_S * NS_PER_S))
        if start >= last_hour or who.account.team is None or "viewer" not in who.roles:
            return HistoryScope(max(start, last_hour), None)
    if "viewer" in who.roles and who.account.team is not None:
        return HistoryScope(start, who.account.team)
    raise RefusedError(403, "forbidden", "this account belongs to no team (账号未分配队伍)")


def csrf_token(session_token: str) -> str:
    """Follows from the cookie by a one-way function: nothing to store, nothing to guess."""
    key = session_token.encode("utf-8", "surrogatepass")[:64]
    digest = blake2b(b"csrf", key=key, digest_size=32).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def check_csrf(who: Principal, headers: Mapping[str, str]) -> None:
    """Raise RefusedError where the header does not carry the session's token."""
    given = headers.get("x-csrf-token", "")
    if not hmac.compare_digest(given.encode(), who.csrf_token.encode()):
        raise RefusedError(403, "bad_csrf", "the page is out of date; load it again (请刷新页面)")


def check_origin(headers: Mapping[str, str], *, is_secure: bool) -> None:
    """Raise RefusedError where a browser says that another site's page sends this.

    Browsers send ``Origin`` with every POST; a program that sends none is no browser, and has the
    CSRF token to show.
    """
    origin = headers.get("origin")
    if origin is None:
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise _bad_origin()
        return
    parts = urlsplit(origin)
    if parts.netloc.lower() != headers.get("host", "").lower():
        raise _bad_origin()
    if parts.scheme != "https" and (is_secure or parts.scheme != "http"):
        raise _bad_origin()


def _bad_origin() -> RefusedError:
    return RefusedError(403, "bad_origin", "sent from another site's page (来源不正确)")


def is_own_host(host: str, listen_host: str, *, is_secure: bool) -> bool:
    """True where the ``Host`` header may be ours.

    A page of another site can make its own name resolve to this machine (DNS rebinding). A desk
    that listens on loopback alone is only ever reached by a loopback name, unless a TLS proxy
    stands in front of it (``secure_cookie``).
    """
    if is_secure or not is_loopback(listen_host):
        return True
    name = _name_of(host)
    return name.endswith(".localhost") or is_loopback(name)


def is_of_nobody(host: str) -> bool:
    """True where nobody owns the name in ``Host``: an address, ``localhost``, a name without a dot.

    Any other may be that of a site whose page lets it lead to this machine.
    """
    name = _name_of(host)
    if not name or name.endswith(".localhost") or "." not in name:
        return bool(name)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name_of(host: str) -> str:
    """The ``Host`` header without the port; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(address: str) -> bool:
    """True for 127.0.0.0/8 and ::1; names are not looked up."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def client_address(peer: str, forwarded: Sequence[str], proxies: AllowList) -> str:
    """Where a request comes from: the nearest address that is not a proxy of ours.

    ``forwarded`` are the X-Forwarded-For headers in their order. Each proxy writes its own peer
    behind what it was sent, so they are read from the end; what a stranger wrote is never reached.
    """
    address = peer
    hops = [_without_port(hop.strip()) for hop in ",".join(forwarded).split(",") if hop.strip()]
    while proxies.allows(address) and hops:
        address = hops.pop()
    return address


def _without_port(hop: str) -> str:
    """Some proxies add the port, which is another one each time: guesses would not add up."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return hop[:MAX_ADDRESS]


def may_watch(
    peer: str, headers: Mapping[str, str], address: str, proxies: AllowList, allowed: AllowList
) -> bool:
    """True where ``/metrics`` needs no login: ``address`` is allowed, and we know that it asks.

    Behind a proxy that nobody has named, or one that writes another header, anybody may be asking.
    """
    is_forwarded = "x-forwarded-for" in headers
    if "forwarded" in headers or (is_forwarded and not proxies.allows(peer)):
        return False
    return allowed.allows(address)
