"""Accounts, sessions and one-time sign-in links: who may use the desk.

Tokens (session cookies, links) are 256 random bits and stand here only as their SHA-256: reading
this file signs nobody in. Passwords come in hashed already.
"""

import re
import secrets
import sqlite3
import unicodedata
from collections.abc import Collection
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec

from gateway.errors import NotAllowedError
from gateway.model.quantities import NS_PER_S, Instant

Role = Literal["viewer", "dispatcher", "technician", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "dispatcher", "technician", "admin")

MAX_NAME = 64
SESSIONS_PER_ACCOUNT = 32  # the oldest goes when one more begins
USED_LINKS_KEPT_NS = 86_400 * NS_PER_S

_NAME = re.compile(r"\S(.*\S)?")
_ACCOUNT = "account_id, name, roles, team, password_hash, is_enabled, created_at, last_sign_in_at"


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person, or a wall display. ``team`` limits what a viewer may see of the past."""

    account_id: int
    name: str
    roles: tuple[Role, ...]
    team: str | None = None
    is_enabled: bool
    has_password: bool
    created_at: Instant
    last_sign_in_at: Instant | None = None


class Credentials(NamedTuple):
    """An account with its password hash, "" where it has no password."""

    account: Account
    password_hash: str


class WebSession(NamedTuple):
    """A session in force; ``seen_at`` is the last request a person made with it."""

    token_hash: str
    account: Account
    created_at: Instant
    expires_at: Instant
    seen_at: Instant


class SignInLink(NamedTuple):
    """A one-time link that can still be used; ``name`` is None where the person chooses it."""

    name: str | None
    roles: tuple[Role, ...]
    team: str | None
    expires_at: Instant


def new_token() -> str:
    """256 random bits, safe in a cookie and a URL."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """How a token is stored; it is random, so that a plain hash suffices."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def spelled(text: str) -> str:
    """A name in its one spelling, whatever it is: by it accounts are found, locked and audited."""
    return unicodedata.normalize("NFC", text).strip()


def check_name(text: str) -> str:
    """The name in one spelling; raises NotAllowedError saying what is wrong with it."""
    name = spelled(text)
    if not 1 <= len(name) <= MAX_NAME or not _NAME.fullmatch(name):
        raise NotAllowedError(f"a name has 1 to {MAX_NAME} characters (姓名须为 1 至 64 个字)")
    if any(unicodedata.category(character)[0] == "C" for character in name):
        raise NotAllowedError("a name has no control characters (姓名含有不可用的字符)")
    return name


def check_roles(roles: Collection[str]) -> tuple[Role, ...]:
    """The roles in their usual order; raises NotAllowedError for none or unknown ones."""
    unknown = set(roles) - set(ROLES)
    if unknown or not roles:
        raise NotAllowedError(f"roles are one or more of {', '.join(ROLES)}")
    return tuple(role for role in ROLES if role in roles)


def create_account(
    connection: sqlite3.Connection,
    *,
    name: str,
    roles: Collection[str],
    team: str | None,
    password_hash: str,
    now: Instant,
) -> Account:
    """A new account; raises NotAllowedError when the name is in use."""
    name, kept_roles = check_name(name), check_roles(roles)
    if by_name(connection, name) is not None:
        raise NotAllowedError(f"the name {name!r} is in use (姓名已被使用)")
    cursor = connection.execute(
        "INSERT INTO account (name, roles, team, password_hash, is_enabled, created_at) "
        "VALUES (?, ?, ?, ?, 1, ?)",
        (name, " ".join(kept_roles), team or "", password_hash, now),
    )
    return by_id(connection, cursor.lastrowid or 0)


def accounts(connection: sqlite3.Connection) -> list[Account]:
    """Every account by name."""
    found = connection.execute(f"SELECT {_ACCOUNT} FROM account ORDER BY name")  # noqa: S608 - constants only
    return [_credentials(row).account for row in found]


def by_id(connection: sqlite3.Connection, account_id: int) -> Account:
    """One account; raises NotAllowedError where there is none."""
    found = connection.execute(
        f"SELECT {_ACCOUNT} FROM account WHERE account_id = ?",  # noqa: S608 - constants only
        (account_id,),
    ).fetchone()
    if found is None:
        raise NotAllowedError("there is no such account (没有这个账号)")
    return _credentials(found).account


def by_name(connection: sqlite3.Connection, name: str) -> Credentials | None:
    """One account with its password hash, or None."""
    found = connection.execute(
        f"SELECT {_ACCOUNT} FROM account WHERE name = ?",  # noqa: S608 - constants only
        (spelled(name),),
    ).fetchone()
    return _credentials(found) if found else None


def set_roles(connection: sqlite3.Connection, account_id: int, roles: Collection[str]) -> Account:
    """Replace the roles and end the account's sessions; refuses to take the last administrator."""
    kept = check_roles(roles)
    before = by_id(connection, account_id)
    if "admin" not in kept:
        _keep_an_admin(connection, before)
    connection.execute(
        "UPDATE account SET roles = ? WHERE account_id = ?", (" ".join(kept), account_id)
    )
    end_sessions(connection, account_id)
    return by_id(connection, account_id)


def set_enabled(connection: sqlite3.Connection, account_id: int, *, is_enabled: bool) -> Account:
    """Enable, or disable and end the sessions; refuses to disable the last administrator."""
    before = by_id(connection, account_id)
    if not is_enabled:
        _keep_an_admin(connection, before)
        end_sessions(connection, account_id)
    connection.execute(
        "UPDATE account SET is_enabled = ? WHERE account_id = ?", (is_enabled, account_id)
    )
    return by_id(connection, account_id)


def set_password(
    connection: sqlite3.Connection, account_id: int, password_hash: str, keep_session: str
) -> None:
    """Replace the password and end the account's other sessions."""
    connection.execute(
        "UPDATE account SET password_hash = ? WHERE account_id = ?", (password_hash, account_id)
    )
    connection.execute(
        "DELETE FROM web_session WHERE account_id = ? AND token_hash != ?",
        (account_id, keep_session),
    )


def begin_session(
    connection: sqlite3.Connection, account: Account, token: str, now: Instant, expires_at: Instant
) -> WebSession:
    """A new session; expired ones and the account's oldest above the limit go."""
    connection.execute("DELETE FROM web_session WHERE expires_at <= ?", (now,))
    connection.execute(
        "DELETE FROM web_session WHERE token_hash IN (SELECT token_hash FROM web_session "
        "WHERE account_id = ? ORDER BY created_at DESC LIMIT -1 OFFSET ?)",
        (account.account_id, SESSIONS_PER_ACCOUNT - 1),
    )
    connection.execute(
        "INSERT INTO web_session (token_hash, account_id, created_at, expires_at, seen_at) "
        "VALUES (?, ?, ?, ?, ?)",
        (token_hash(token), account.account_id, now, expires_at, now),
    )
    connection.execute(
        "UPDATE account SET last_sign_in_at = ? WHERE account_id = ?", (now, account.account_id)
    )
    return WebSession(token_hash(token), account, now, expires_at, now)


def session(connection: sqlite3.Connection, hashed: str, now: Instant) -> WebSession | None:
    """The session in force behind a hashed token, or None."""
    found = connection.execute(
        "SELECT web_session.created_at, expires_at, seen_at, account_id, name, roles, team, "
        "password_hash, is_enabled, account.created_at, last_sign_in_at "
        "FROM web_session JOIN account USING (account_id) "
        "WHERE token_hash = ? AND expires_at > ? AND is_enabled",
        (hashed, now),
    ).fetchone()
    if found is None:
        return None
    created_at, expires_at, seen_at, *account = found
    return WebSession(
        hashed,
        _credentials(tuple(account)).account,
        Instant(created_at),
        Instant(expires_at),
        Instant(seen_at),
    )


def touch_session(connection: sqlite3.Connection, hashed: str, now: Instant) -> None:
    """A person did something with this session."""
    connection.execute("UPDATE web_session SET seen_at = ? WHERE token_hash = ?", (now, hashed))


def end_session(connection: sqlite3.Connection, hashed: str) -> None:
    """Sign out; harmless when ended already."""
    connection.execute("DELETE FROM web_session WHERE token_hash = ?", (hashed,))


def end_sessions(connection: sqlite3.Connection, account_id: int) -> None:
    """End every session of one account."""
    connection.execute("DELETE FROM web_session WHERE account_id = ?", (account_id,))


def create_link(
    connection: sqlite3.Connection,
    *,
    token: str,
    name: str | None,
    roles: Collection[str],
    team: str | None,
    now: Instant,
    expires_at: Instant,
) -> None:
    """Keep a one-time link; forgets those that are long over."""
    kept_name = "" if name is None else check_name(name)
    connection.execute("DELETE FROM sign_in_link WHERE expires_at < ?", (now - USED_LINKS_KEPT_NS,))
    connection.execute(
        "INSERT INTO sign_in_link (token_hash, name, roles, team, expires_at) "
        "VALUES (?, ?, ?, ?, ?)",
        (token_hash(token), kept_name, " ".join(check_roles(roles)), team or "", expires_at),
    )


def link(connection: sqlite3.Connection, hashed: str, now: Instant) -> SignInLink | None:
    """The link behind a hashed token while it can be used, or None."""
    found = connection.execute(
        "SELECT name, roles, team, expires_at FROM sign_in_link "
        "WHERE token_hash = ? AND used_at IS NULL AND expires_at > ?",
        (hashed, now),
    ).fetchone()
    if found is None:
        return None
    name, roles, team, expires_at = found
    return SignInLink(name or None, check_roles(roles.split()), team or None, Instant(expires_at))


def use_link(
    connection: sqlite3.Connection, hashed: str, name: str | None, password_hash: str, now: Instant
) -> Account | None:
    """Use the link up and give its account; None when the link or the account is no longer good.

    A link for a person signs in the account of that name and makes it where there is none;
    otherwise ``name`` becomes a new account. Raises NotAllowedError (the link stays usable) for a
    bad name.
    """
    found = link(connection, hashed, now)
    if found is None:
        return None
    known = by_name(connection, found.name) if found.name is not None else None
    if known is not None and not known.account.is_enabled:
        return None
    if known is not None:
        account = known.account
        if password_hash:
            set_password(connection, account.account_id, password_hash, keep_session="")
    else:
        account = create_account(
            connection,
            name=found.name or name or "",
            roles=found.roles,
            team=found.team,
            password_hash=password_hash,
            now=now,
        )
    connection.execute("UPDATE sign_in_link SET used_at = ? WHERE token_hash = ?", (now, hashed))
    return by_id(connection, account.account_id)


def _keep_an_admin(connection: sqlite3.Connection, leaving: Account) -> None:
    if "admin" not in leaving.roles or not leaving.is_enabled:
        return
    others = (
        account
        for account in accounts(connection)
        if account.is_enabled
        and "admin" in account.roles
        and account.account_id != leaving.account_id
    )
    if next(others, None) is None:
        raise NotAllowedError("the last administrator stays (必须保留至少一名管理员)")


def _credentials(row: tuple[object, ...]) -> Credentials:
    account_id, name, roles, team, password_hash, is_enabled, created_at, last_sign_in_at = row
    account = msgspec.convert(
        {
            "account_id": account_id,
            "name": name,
            "roles": str(roles).split(),
            "team": team or None,
            "is_enabled": bool(is_enabled),
            "has_password": bool(password_hash),
            "created_at": created_at,
            "last_sign_in_at": last_sign_in_at,
        },
        Account,
        dec_hook=lambda kind, value: kind(value),
    )
    return Credentials(account, str(password_hash))
