"""Signing in and out."""

from litestar import Response
from litestar.datastructures import Cookie
from litestar.params import JSONBody

from gateway.desk import refusal
from gateway.desk.guard import Principal, principal
from gateway.desk.payloads import LinkAsks, LinkQuestion, Me, NewPassword, SignIn
from gateway.desk.services import Address, Desk, MaybeWho, Services, Who
from gateway.eventlog.accounts import Account, new_token, spelled

MAX_AUDIT_NAME = 64


async def me(desk: Desk, maybe_who: MaybeWho) -> Me:
    """Who is signed in."""
    return describe(desk, maybe_who)


async def sign_in(desk: Desk, address: Address, data: JSONBody[SignIn]) -> Response[Me]:
    """Begin a session by name and password, or by a one-time link."""
    if data.token is not None:
        account = await _by_link(desk, address, data, data.token)
    else:
        account = await _by_password(desk, address, data)
    token = new_token()
    session = await desk.eventlog.begin_session(account, token, desk.settings.session_s)
    await desk.audit(account.name, "sign_in", address=address)
    who = principal(session, token, desk.clock.now())
    return Response(describe(desk, who), status_code=200, cookies=[_cookie(desk, token)])


async def ask_link(desk: Desk, address: Address, data: JSONBody[LinkQuestion]) -> LinkAsks:
    """What a one-time link will ask for; the link stays usable."""
    key = f"address:{address}"
    _refuse_locked(desk, key)
    link = await desk.eventlog.link(data.token)
    if link is None:
        await _failed(desk, address, "", key, refusal.wrong_link().detail)
        raise refusal.wrong_link()
    return LinkAsks(asks_name=link.name is None, name=link.name, roles=link.roles)


async def sign_out(desk: Desk, who: Who, address: Address) -> Response[None]:
    """End this session and its streams."""
    await desk.eventlog.end_session(who.session.token_hash)
    desk.hub.end_session(who.session.token_hash)
    await desk.audit(who.name, "sign_out", address=address)
    return Response(None, status_code=204, cookies=[_cookie(desk, "", max_age=0)])


async def set_password(desk: Desk, who: Who, address: Address, data: JSONBody[NewPassword]) -> None:
    """Set one's own password; the account's other sessions end."""
    keys = (f"account:{who.name}", f"address:{address}")
    known = await desk.eventlog.credentials(who.name)
    if known is not None and known.password_hash:
        _refuse_locked(desk, *keys)
        desk.lockout.begin(*keys)
        if not await desk.passwords.fits(known.password_hash, data.current or ""):
            await desk.audit(who.name, "password", result="refused", address=address)
            raise refusal.wrong_credentials()
        desk.lockout.succeeded(*keys)
    hashed = await desk.passwords.hash(data.password)
    await desk.eventlog.set_password(who.account.account_id, hashed, who.session.token_hash)
    await desk.audit(who.name, "password", address=address)


def describe(desk: Services, who: Principal | None) -> Me:
    """The body of ``/api/me``."""
    gateway = desk.live.gateway()
    me_nobody = Me(
        signed_in=False, site=gateway.site, site_name=gateway.site_name, zone=gateway.zone
    )
    if who is None:
        return me_nobody
    return Me(
        signed_in=True,
        site=gateway.site,
        site_name=gateway.site_name,
        zone=gateway.zone,
        account_id=who.account.account_id,
        name=who.name,
        roles=tuple(role for role in who.account.roles if role in who.roles),
        team=who.account.team,
        has_password=who.account.has_password,
        csrf_token=who.csrf_token,
        expires_at=who.session.expires_at,
    )


async def _by_password(desk: Services, address: str, data: SignIn) -> Account:
    name = spelled(data.name or "")
    keys = (f"account:{name}", f"address:{address}")
    _refuse_locked(desk, *keys)
    has_locked = desk.lockout.begin(*keys)
    known = await desk.eventlog.credentials(name)
    fits = await desk.passwords.fits(known.password_hash if known else "", data.password or "")
    if known is None or not fits or not known.account.is_enabled:
        detail = "wrong name or password"
        await _audit_failure(desk, address, name, f"{detail}; locked" if has_locked else detail)
        raise refusal.wrong_credentials()
    desk.lockout.succeeded(*keys)
    return known.account


async def _by_link(desk: Services, address: str, data: SignIn, token: str) -> Account:
    key = f"address:{address}"
    _refuse_locked(desk, key)
    if await desk.eventlog.link(token) is None:
        await _failed(desk, address, data.name or "", key, "one-time link")
        raise refusal.wrong_link()
    hashed = await desk.passwords.hash(data.password) if data.password else ""
    account = await desk.eventlog.use_link(token, data.name, hashed)
    if account is None:  # used by somebody else meanwhile, or the account is disabled
        await _failed(desk, address, data.name or "", key, "one-time link")
        raise refusal.wrong_link()
    return account


def _refuse_locked(desk: Services, *keys: str) -> None:
    seconds = desk.lockout.locked_s(*keys)
    if seconds > 0:
        raise refusal.RefusedError(
            429,
            "locked",
            f"too many tries; wait {-(-seconds // 60):.0f} min (尝试次数过多，请稍后再试)",
            retry_after_s=int(seconds) + 1,
        )


async def _failed(desk: Services, address: str, name: str, key: str, detail: str) -> None:
    has_locked = desk.lockout.begin(key)
    await _audit_failure(desk, address, name, f"{detail}; locked" if has_locked else detail)


async def _audit_failure(desk: Services, address: str, name: str, detail: str) -> None:
    await desk.audit(
        spelled(name)[:MAX_AUDIT_NAME], "sign_in", result="refused", detail=detail, address=address
    )


def _cookie(desk: Services, token: str, max_age: int | None = None) -> Cookie:
    return Cookie(
        key=desk.cookie_name,
        value=token,
        path="/",
        max_age=int(desk.settings.session_s) if max_age is None else max_age,
        httponly=True,
        samesite="strict",
        secure=desk.is_secure,
    )
