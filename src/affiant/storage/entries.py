"""The traces of requests in the store: claims, tokens, revocations, audit records. Instants are epoch seconds."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import msgspec

from affiant.system.values import Value

# How long a revocation outlives its tokens, and a family of refresh tokens its own end: longer than any retry window,
# and than clocks may differ.
KEPT_SECONDS = 86_400
RETRY_WINDOW = 120  # seconds in which a client can retry a refresh with a lost answer
# Bytes that a store writes to see if it takes writes again after one has failed. As many as a large commit: a small one
# may fit on a full disk.
PROBE_BYTES = 1 << 18
PROBE = "probe"  # the setting for these bytes
OUT_OF_ORDER = 60  # seconds by which audit records may be out of order: the clocks of several nodes differ
LONGEST_TOKEN = 3600  # seconds that an access token may live; settings allow no more
# C0, DEL and C1, which a terminal obeys, and Unicode's line ends and changes of direction.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class JtiClaim(Value, frozen=True):
    """A jti to be used once: SHA-256 of it, kept until `expires_at`."""

    client_id: str
    digest: bytes
    expires_at: int


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, by the keyed digest of its text."""

    digest: bytes = field(repr=False)
    family: str
    client_id: str
    scope: tuple[str, ...]
    resource: str  # identifiers, separated by spaces
    issued_at: int
    idle_expires_at: int
    expires_at: int
    spent_at: int | None = None
    successor: bytes | None = field(default=None, repr=False)
    revoked_at: int | None = None
    key_thumbprint: str | None = None  # of the key, or the id of the secret, that obtained the first of its family
    authorization_details: str | None = None  # JSON text (RFC 9396)
    # Number of the audit record of the first of its family, set by the store; 0 in rows of older versions.
    began: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The use of a refresh token: `successor` replaces `spent`; if they are equal, the token is not spent."""

    spent: bytes = field(repr=False)
    successor: bytes = field(repr=False)
    now: int
    idle_seconds: int  # how long the successor lives unused
    retry_window: int = RETRY_WINDOW  # seconds in which a second use gets the same successor, unless that one was used


# The outcome of a request; docs/reference/audit.md has the table.
AuditOutcome = Literal[
    "issued", "refused", "explained",
    "introspected", "listed", "accepted",
    "added", "proved", "retired", "cancelled", "revoked", "put",
    "registered", "read", "replaced", "deleted",
    "created", "changed", "removed",
    "announced", "advanced",
    "limited", "restored", "archived",
]  # fmt: skip


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision. It never has a secret, an assertion or a token."""

    at: float
    trace_id: str
    endpoint: str
    outcome: AuditOutcome
    reason: str | None = None
    client_claimed: str | None = None  # client_id that the request claims
    client_id: str | None = None
    method: str | None = None
    alg: str | None = None
    kid: str | None = None
    thumbprint: str | None = None  # of the client's key that signed, or the id of its secret
    # Hexadecimal SHA-256 of `jti:` and the jti; without a jti, of `jws:` and the assertion.
    jti_digest: str | None = None
    grant: str | None = None
    scope: str | None = None
    resource: str | None = None
    profile: str | None = None
    address: str | None = None
    expected: str | None = None
    got: str | None = None
    detail: str | None = None
    observed: str | None = None
    hint: str | None = None  # the known mistake that explains a bad signature or a repeated jti
    also: str | None = None  # codes of further reasons to refuse the request, separated by spaces
    policies: str | None = None  # per broken rule, the client's policy that accepts the assertion, or `none`
    token: str | None = None  # jti of the issued access token
    rule: str | None = None  # the rule that named the client, as TRUST/RULE
    issuer: str | None = None  # iss of a platform's token, which may be false
    claims: str | None = None  # JSON text of a refused token's claims, shortened (registry/federation/claims.py)
    nearest: str | None = None  # JSON text of the nearest rule: what each condition expected and got
    parent: str | None = None  # jti of the access token that was exchanged
    task: str | None = None  # the task of the issued token
    by: str | None = None  # who changed something: a client of the admin API, or the command line
    subject: str | None = None  # what was changed
    before: str | None = None  # JSON text without secrets
    after: str | None = None  # the same
    milliseconds: float | None = None

    def refused(self, reason: str) -> AuditRecord:
        """The same request, refused by the commit."""
        return msgspec.structs.replace(self, outcome="refused", reason=reason)

    def with_change(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> AuditRecord:
        """Return the record with the members that a change makes differ; with all of a view where the other is None."""
        if before is not None and after is not None:
            before, after = _differing(before, after), _differing(after, before)
        texts = [json.dumps(view) if view is not None else None for view in (before, after)]
        return msgspec.structs.replace(self, before=texts[0], after=texts[1])

    def to_json(self) -> bytes:
        """One line of JSON: members in a fixed order, without None; control characters escaped."""
        try:
            data = msgspec.json.encode(self)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and UTF-8 cannot
            shown = msgspec.structs.asdict(self)
            data = msgspec.json.encode({name: _spelled(value) for name, value in shown.items() if value is not None})
        # JSON leaves DEL and the C1 controls as they are; a terminal that shows the log would obey them.
        return data if data.isascii() and b"\x7f" not in data else escape_controls(data)


def _differing(view: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that differ; of a list of objects, only the objects."""
    differing: dict[str, Any] = {}
    for name, value in view.items():
        others = other.get(name)
        if value == others:
            continue
        if isinstance(value, list) and any(isinstance(item, dict) for item in (*value, *(others or ()))):
            items = [item for item in value if item not in (others or ())]
            differing |= {name: items} if items else {}
        else:
            differing[name] = value
    return differing


class Revocation(Value, frozen=True):
    """Access tokens that are revoked; oauth/revocations.py has the rule.

    `kind` is ``jti`` (one token), ``family`` (those of one family of refresh tokens), ``key`` (those obtained with a
    key, by its thumbprint, or by `of_key` those that one client obtained with it), or, for tokens issued until `at`,
    ``client``, ``api``, ``rule``, ``trust`` or ``all``; ``task`` is one task of a client, for good; ``foreign`` is what
    another server revoked, by its issuer and the digest in its feed.
    """

    kind: str
    value: str  # empty for `all`
    at: int
    until: int  # when the last of the tokens expires


class Unrevoked(NamedTuple):
    """A name by which the exchanged token can be revoked (oauth/revocations.named): then the entry is not committed."""

    kind: str
    value: str
    since: float  # a revocation at this instant or later ends the token


class RefreshSelection(Value, frozen=True):
    """The refresh tokens to revoke: those that match every given field."""

    client_id: str | None = None
    key_thumbprint: str | None = None
    resource: str | None = None
    family: str | None = None

    @property
    def reach(self) -> str:
        """The narrowest name for all of them; `reaches` has every such name of one token."""
        if self.family is not None:
            return f"family {self.family}"
        return "all" if self.client_id is None else f"client {self.client_id}"

    def fits(self, token: RefreshToken) -> bool:
        return (
            self.client_id in (None, token.client_id)
            and self.family in (None, token.family)
            and self.key_thumbprint in (None, token.key_thumbprint)
            and (self.resource is None or self.resource in token.resource.split(" "))
        )


class RefreshEnd(Value, frozen=True):
    """The end of all refresh tokens of a selection, in one row: a row for each would take too long for a commit."""

    selection: RefreshSelection
    number: int  # of the audit record; families that began later live on. Not by a clock: clocks of nodes differ
    at: int


class Entry(Value, frozen=True):
    """The commit of one request, all or nothing."""

    audit: AuditRecord
    claim: JtiClaim | None = None
    tolerate_repeat: bool = False  # record a repeated jti instead of refusing it (guide profile)
    subject_claim: JtiClaim | None = None  # the jti of an exchanged token that is taken once
    unless_revoked: tuple[Unrevoked, ...] = ()  # the names of the exchanged token and of its ancestors
    new_refresh: RefreshToken | None = None
    rotation: Rotation | None = None
    revocations: tuple[Revocation, ...] = ()
    revoke_family: str | None = None  # a family of refresh tokens
    revoke_refresh: RefreshSelection | None = None

    @property
    def claims(self) -> tuple[JtiClaim, ...]:
        return tuple(claim for claim in (self.claim, self.subject_claim) if claim is not None)


class Outcome(Enum):
    """The result of an entry."""

    FIRST = "first"
    REPEATED = "repeated"
    REPLAYED = "assertion.replayed"
    REFRESH_UNKNOWN = "refresh_token.unknown"
    REFRESH_EXPIRED = "refresh_token.expired"
    REFRESH_REVOKED = "refresh_token.revoked"
    REFRESH_REUSED = "refresh_token.reused"
    SUBJECT_REPLAYED = "exchange.subject_replayed"
    SUBJECT_REVOKED = "exchange.subject_revoked"

    @property
    def is_loss(self) -> bool:
        """Whether the entry was refused, and only the refusal recorded."""
        return self not in (Outcome.FIRST, Outcome.REPEATED)


GENESIS = bytes(32)  # the link before the first audit record


def chain(previous: bytes, record: bytes, key: bytes = b"") -> bytes:
    """The link for this record. An edit, deletion or move without the key breaks every link that follows.

    With the empty key, which anyone has, the chain shows only accidents.
    """
    return hmac.digest(key, previous + record, sha256)


class AuditRow(NamedTuple):
    """A row of the audit log; `record` is JSON."""

    number: int
    trace_id: str
    record: bytes
    link: bytes


class Sought(NamedTuple):
    """Rows of the audit log that a search found, newest first, and the one that it goes on with; None at its end."""

    rows: list[AuditRow]
    following: AuditRow | None


class AuditHead(NamedTuple):
    """The end of the log: number and link of its newest record, and the highest number ever given."""

    number: int
    link: bytes
    given: int


class AuditBase(NamedTuple):
    """Where the log begins: the last record that was archived and deleted; NO_BASE if none was."""

    number: int
    link: bytes
    at: int  # when it was, in epoch seconds
    seal: bytes  # see storage/history/base.py


NO_BASE = AuditBase(0, GENESIS, 0, b"")


def reaches(token: RefreshToken) -> tuple[str, ...]:
    """The reach of every selection that may match this token."""
    return "all", f"client {token.client_id}", f"family {token.family}"


def as_ended(token: RefreshToken, ends: Iterable[RefreshEnd]) -> RefreshToken:
    """The token, revoked if one of these ends matches it. Every store applies this to each token that it reads."""
    if token.revoked_at is None:
        fitting = (end.at for end in ends if token.began <= end.number and end.selection.fits(token))
        return replace(token, revoked_at=min(fitting, default=None))
    return token


def _spelled(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def escape_controls(data: bytes) -> bytes:
    """The same JSON, without characters that a terminal or a line reader obeys."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", data.decode("utf-8")).encode("utf-8")
