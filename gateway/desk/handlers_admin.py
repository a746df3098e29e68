"""Accounts and the audit log: the administrator's side. Everything done here is an audit row."""

from typing import Annotated

from litestar import Response
from litestar.params import FromPath, JSONBody, QueryParameter

from gateway.desk.payloads import Accounts, Audit, Invitation, NewAccount, NewRoles
from gateway.desk.services import Address, Desk, Services, Who
from gateway.eventlog.accounts import Account, Role
from gateway.model.quantities import NS_PER_S, Instant

INVITATION_S = 24 * 3600


async def accounts(desk: Desk) -> Accounts:
    """Every account by name."""
    return Accounts(accounts=await desk.eventlog.accounts())


async def create_account(
    desk: Desk, who: Who, address: Address, data: JSONBody[NewAccount]
) -> Response[Invitation]:
    """A new account, with a one-time link for the person."""
    account = await desk.eventlog.create_account(data.name, data.roles, data.team)
    await desk.audit(
        who.name, "account_create", account.name, address=address, detail=" ".join(account.roles)
    )
    return Response(await _invite(desk, account), status_code=201)


async def set_roles(
    desk: Desk, who: Who, address: Address, account_id: FromPath[int], data: JSONBody[NewRoles]
) -> Account:
    """Replace an account's roles; its sessions end."""
    account = await desk.eventlog.set_roles(account_id, data.roles)
    await desk.audit(
        who.name, "account_roles", account.name, address=address, detail=" ".join(account.roles)
    )
    return account


async def disable(desk: Desk, who: Who, address: Address, account_id: FromPath[int]) -> Account:
    """Nobody signs in with this account any more; its sessions end."""
    account = await desk.eventlog.set_enabled(account_id, is_enabled=False)
    await desk.audit(who.name, "account_disable", account.name, address=address)
    return account


async def enable(desk: Desk, who: Who, address: Address, account_id: FromPath[int]) -> Account:
    """The account works again."""
    account = await desk.eventlog.set_enabled(account_id, is_enabled=True)
    await desk.audit(who.name, "account_enable", account.name, address=address)
    return account


async def invite(desk: Desk, who: Who, address: Address, account_id: FromPath[int]) -> Invitation:
    """A one-time link for a person who has no password, or has forgotten it."""
    account = await desk.eventlog.account(account_id)
    invitation = await _invite(desk, account)
    await desk.audit(who.name, "account_link", account.name, address=address)
    return invitation


async def audit(
    desk: Desk,
    who: Who,
    address: Address,
    before: Annotated[int | None, QueryParameter(ge=1)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
) -> Audit:
    """Audit rows, newest first; reading them is a row as well."""
    rows = await desk.eventlog.audit_rows(before, limit)
    broken = await desk.eventlog.first_broken_audit_row()
    await desk.audit(who.name, "audit_read", address=address, detail=f"{len(rows)} rows")
    return Audit(rows=rows, is_chain_intact=broken is None)


async def _invite(desk: Services, account: Account) -> Invitation:
    roles: tuple[Role, ...] = account.roles
    token = await desk.eventlog.create_sign_in_link(roles, account.name, INVITATION_S)
    return Invitation(
        account=account,
        sign_in_path=sign_in_path(token),
        expires_at=Instant(desk.clock.now() + INVITATION_S * NS_PER_S),
    )


def sign_in_path(token: str) -> str:
    """Where a one-time link leads; what is behind '#' reaches no log and no proxy."""
    return f"/#sign-in={token}"
