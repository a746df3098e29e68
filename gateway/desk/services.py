"""What the handlers work with: one object, made by the server, handed to each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from gateway.addresses import AllowList
from gateway.clock import Clock
from gateway.desk.guard import COOKIE, SECURE_COOKIE, Principal
from gateway.desk.hub import Hub, LinkSight, seen_links
from gateway.desk.lockout import Lockout
from gateway.desk.pages import Page
from gateway.desk.passwords import Passwords
from gateway.desk.payloads import BaseMap, State
from gateway.desk.ports import EmergencyActions, LiveView, Requests
from gateway.errors import GatewayError
from gateway.eventlog.audit import AuditEntry, Result
from gateway.eventlog.store import EventLog
from gateway.model.emergency import Emergency
from gateway.settings import DeskSettings

log = structlog.get_logger("gateway.desk")


class AuditState:
    """Whether the audit log can be written; its failure is an alarm on every page, not silence."""

    def __init__(self) -> None:
        self.is_ok = True

    def failed(self, error: GatewayError) -> None:
        """A row could not be written."""
        if self.is_ok:
            log.error("audit_failed", why=str(error))
        self.is_ok = False

    def succeeded(self) -> None:
        """A row was written."""
        if not self.is_ok:
            log.info("audit_works_again")
        self.is_ok = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that stands behind the routes."""

    settings: DeskSettings
    listen_host: str
    eventlog: EventLog
    live: LiveView
    actions: EmergencyActions
    requests: Requests
    hub: Hub
    clock: Clock
    passwords: Passwords
    lockout: Lockout
    audit_state: AuditState
    metrics: Callable[[], bytes]
    pages: Mapping[str, Page]
    map_file: Path | None
    trusted_proxies: AllowList
    metrics_allow: AllowList

    @property
    def is_secure(self) -> bool:
        """True behind TLS."""
        return self.settings.secure_cookie

    @property
    def cookie_name(self) -> str:
        """The session cookie's name."""
        return SECURE_COOKIE if self.is_secure else COOKIE

    async def audit(
        self,
        who: str,
        action: str,
        subject: str = "",
        *,
        address: str,
        result: Result = "ok",
        detail: str = "",
    ) -> None:
        """Put a row into the audit log; what was done stays done where that fails."""
        entry = AuditEntry(
            who=who, action=action, subject=subject, result=result, detail=detail, address=address
        )
        try:
            await self.eventlog.audit(entry)
        except GatewayError as error:
            self.audit_state.failed(error)
        else:
            self.audit_state.succeeded()


def current_state(
    live: LiveView, sight: LinkSight, *, audit_ok: bool, base_map: BaseMap | None
) -> State:
    """Everything the page shows, as far as ``sight`` permits."""
    is_viewer = sight == "none"
    return State(
        gateway=live.gateway(),
        audit_ok=audit_ok,
        units=live.units(),
        links=seen_links(live.links(), sight),
        sites=live.sites(),
        emergencies=open_emergencies(live),
        map=base_map,
        commands=msgspec.UNSET if is_viewer else live.commands(),
        possible=msgspec.UNSET if is_viewer else live.possible_commands(),
    )


def open_emergencies(live: LiveView) -> list[Emergency]:
    """Those that nobody has closed, oldest first."""
    return sorted(
        (each for each in live.emergencies() if each.is_open), key=lambda each: each.raised_at
    )


def base_map(file: Path | None) -> BaseMap | None:
    """What the page is told about the base map."""
    return None if file is None else BaseMap(kind=map_kind(file), url="/api/map")


def map_kind(file: Path) -> Literal["geojson", "pmtiles"]:
    """What a base map file holds, by its name."""
    return "pmtiles" if file.suffix == ".pmtiles" else "geojson"


# How handlers ask for them; what is ours needs no check by the framework.
Desk = NamedDependency[SkipValidation[Services]]
Who = NamedDependency[SkipValidation[Principal]]
MaybeWho = NamedDependency[SkipValidation[Principal | None]]
Address = NamedDependency[SkipValidation[str]]
