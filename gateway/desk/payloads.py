"""The bodies of the desk's API as structs: what is sent, and what is accepted."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from gateway.eventlog.accounts import Account, Role
from gateway.eventlog.audit import AuditRow
from gateway.model.emergency import Emergency
from gateway.model.events import CommandVerb, LinkState, Verdict
from gateway.model.quantities import Instant
from gateway.model.views import CommandView, GatewayView, RejectedFrame, SiteView, UnitView

Token = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Note = Annotated[str, msgspec.Meta(max_length=1000)]
Team = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What goes out; what is not known is absent."""


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes in; a key that is not listed is refused."""


class Me(Answer, frozen=True, kw_only=True):
    """Who is signed in, and what the page has to know before anybody is."""

    signed_in: bool
    site: str
    site_name: str
    zone: str
    account_id: int | None = None
    name: str | None = None
    roles: tuple[Role, ...] = ()
    team: str | None = None
    has_password: bool | None = None
    csrf_token: str | None = None
    expires_at: Instant | None = None


class SignIn(Question, frozen=True, kw_only=True):
    """Name and password, or a one-time token with what its link asks for."""

    token: Token | None = None
    name: Name | None = None
    password: Password | None = None


class LinkQuestion(Question, frozen=True, kw_only=True):
    """Which link."""

    token: Token


class LinkAsks(Answer, frozen=True, kw_only=True):
    """What a one-time link will ask for."""

    asks_name: bool
    name: str | None = None
    roles: tuple[Role, ...]


class NewPassword(Question, frozen=True, kw_only=True):
    """A new password; ``current`` where there was one."""

    password: Password
    current: Password | None = None


class SeenLink(Answer, frozen=True, kw_only=True):
    """A link as far as the role sees it: a dispatcher gets the first four alone."""

    link_id: str
    driver: str
    state: LinkState
    since: Instant
    place: str | None = None
    why: str | None = None
    peers: int | None = None
    bytes_received: int | None = None
    last_heard_at: Instant | None = None
    is_degraded: bool | None = None
    rejected: dict[str, int] | None = None
    dropped: dict[str, int] | None = None


class Links(Answer, frozen=True, kw_only=True):
    """Links, whole or reduced to their state."""

    links: Sequence[SeenLink]


class BaseMap(msgspec.Struct, frozen=True, kw_only=True):
    """Where the base map is."""

    kind: Literal["geojson", "pmtiles"]
    url: str


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page needs at start. A snapshot on the stream has ``units_total`` too.

    ``commands`` are those to radios, oldest first; ``possible`` says for each driver which are
    switched on and known to it. Both are absent for a viewer.
    """

    gateway: GatewayView
    audit_ok: bool
    units: Sequence[UnitView]
    links: Sequence[SeenLink] | msgspec.UnsetType = msgspec.UNSET
    sites: Sequence[SiteView]
    emergencies: Sequence[Emergency]
    map: BaseMap | None
    commands: Sequence[CommandView] | msgspec.UnsetType = msgspec.UNSET
    possible: Mapping[str, Sequence[CommandVerb]] | msgspec.UnsetType = msgspec.UNSET
    units_total: int | msgspec.UnsetType = msgspec.UNSET


class Emergencies(msgspec.Struct, frozen=True, kw_only=True):
    """``open`` oldest first, ``closed`` newest first."""

    open: Sequence[Emergency]
    closed: Sequence[Emergency]


class Close(Question, frozen=True, kw_only=True):
    """How it ended."""

    verdict: Verdict
    note: Note | None = None


class NewText(Question, frozen=True, kw_only=True):
    """What a radio shall show."""

    body: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class NewTrack(Question, frozen=True, kw_only=True):
    """A position every ``every_s`` seconds, for ``for_s`` seconds."""

    every_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)]
    for_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)]


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """Commands to radios, newest first; ``possible`` as in ``State``."""

    commands: Sequence[CommandView]
    possible: Mapping[str, Sequence[CommandVerb]]


class NumberedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the contract with its place in the log."""

    seq: int
    event: dict[str, Any]


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the log; ``last_seq`` is the greatest number in it, ``after`` for an empty one."""

    events: Sequence[NumberedEvent]
    last_seq: int


class Rejects(msgspec.Struct, frozen=True, kw_only=True):
    """Refused frames, newest first."""

    rejects: Sequence[RejectedFrame]


class Accounts(msgspec.Struct, frozen=True, kw_only=True):
    """Every account by name."""

    accounts: Sequence[Account]


class NewAccount(Question, frozen=True, kw_only=True):
    """A person to be let in."""

    name: Name
    roles: tuple[Role, ...]
    team: Team | None = None


class NewRoles(Question, frozen=True, kw_only=True):
    """The roles from now on."""

    roles: tuple[Role, ...]


class Invitation(Answer, frozen=True, kw_only=True):
    """A one-time link for a person; the path goes behind the desk's own address."""

    sign_in_path: str
    expires_at: Instant
    account: Account | None = None


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Audit rows, newest first; ``is_chain_intact`` speaks of the whole log."""

    rows: Sequence[AuditRow]
    is_chain_intact: bool


class Health(Answer, frozen=True, kw_only=True):
    """Whether the gateway accepts events."""

    status: Literal["ok", "failing"]
    reason: str | None = None


class Problem(Answer, frozen=True, kw_only=True):
    """Every error has this form."""

    error: str
    detail: str
    retry_after_s: int | None = None
