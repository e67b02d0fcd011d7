"""What is kept of requests: claims, tokens, revocations, audit records; instants in seconds since the epoch."""

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

from affiant.values import Value

# That a revocation outlives its tokens, and a line of refresh tokens its own end, whatever the clock says that deletes
# it. Longer than any retry window.
KEPT_SECONDS = 86_400
RETRY_WINDOW = 120  # seconds in which a client can retry a refresh with a lost answer
# Bytes that a store writes to find out whether it takes writes again after one has failed. As much as a large commit:
# on a full disk a small one still fits now and then.
PROBE_BYTES = 1 << 18
PROBE = "probe"  # the setting for these bytes
LONGEST_TOKEN = 3600  # seconds that an access token may live; settings allow no more
# C0, DEL and C1, which a terminal obeys; and what ends a line, or turns the direction of one, for who reads Unicode.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class JtiClaim(Value, frozen=True):
    """A jti to be used once: SHA-256 of it, kept until `expires_at`."""

    client_id: str
    digest: bytes
    expires_at: int


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token by the keyed digest of its text.

    Attributes:
        resource: identifiers, separated by spaces.
        key_thumbprint: of the client's key that obtained the first of its family, or the id of the secret.
        authorization_details: as JSON text (RFC 9396).
        began: number of the audit record with which the first of its family was made, as the store writes it down; 0
            for what an older version made.
    """

    digest: bytes = field(repr=False)
    family: str
    client_id: str
    scope: tuple[str, ...]
    resource: str
    issued_at: int
    idle_expires_at: int
    expires_at: int
    spent_at: int | None = None
    successor: bytes | None = field(default=None, repr=False)
    revoked_at: int | None = None
    key_thumbprint: str | None = None
    authorization_details: str | None = None
    began: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The use of a refresh token: `spent` is followed by `successor`; one that follows itself is not spent.

    Attributes:
        idle_seconds: how long the successor lives unused.
        retry_window: seconds in which a repeated use is a retry and gets the same successor, until that one is used.
    """

    spent: bytes = field(repr=False)
    successor: bytes = field(repr=False)
    now: int
    idle_seconds: int
    retry_window: int = RETRY_WINDOW


# What a record says became of a request; docs/reference/audit.md has the table.
AuditOutcome = Literal[
    "issued", "refused", "explained",
    "introspected", "listed", "accepted",
    "added", "proved", "retired", "cancelled", "revoked", "put",
    "registered", "read", "replaced", "deleted",
    "created", "changed", "removed",
    "announced", "advanced",
    "limited", "restored",
]  # fmt: skip


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision, a Struct because it is written on the hot path. Never holds a secret, an assertion or a token.

    Attributes:
        client_claimed: who the request said it was.
        client_id: who it proved to be.
        thumbprint: of the client's key that signed; the id of the secret where there was one.
        jti_digest: hexadecimal SHA-256 of ``jti:`` and the jti; without a jti, of ``jws:`` and the whole assertion.
        hint: which known mistake explains a signature that does not verify, or a jti that was used before.
        also: codes of what else would have stopped the request, separated by spaces.
        policies: for each broken rule, the client's policy that accepts the assertion; ``none`` for none.
        token: the jti of the access token that was issued.
        by: who changed something: a client of the admin API, or the command line.
        subject: what was changed.
        before: as it was, as JSON text without secrets.
        after: as it is now, likewise.
    """

    at: float
    trace_id: str
    endpoint: str
    outcome: AuditOutcome
    reason: str | None = None
    client_claimed: str | None = None
    client_id: str | None = None
    method: str | None = None
    alg: str | None = None
    kid: str | None = None
    thumbprint: str | None = None
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
    hint: str | None = None
    also: str | None = None
    policies: str | None = None
    token: str | None = None
    by: str | None = None
    subject: str | None = None
    before: str | None = None
    after: str | None = None
    milliseconds: float | None = None

    def refused(self, reason: str) -> AuditRecord:
        """The same request, refused in the commit itself."""
        return msgspec.structs.replace(self, outcome="refused", reason=reason)

    def with_change(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> AuditRecord:
        """Return the record with the members that a change makes differ; with all of a view where the other is None."""
        if before is not None and after is not None:
            before, after = _differing(before, after), _differing(after, before)
        texts = [json.dumps(view) if view is not None else None for view in (before, after)]
        return msgspec.structs.replace(self, before=texts[0], after=texts[1])

    def to_json(self) -> bytes:
        """One line of JSON, members in a fixed order, without those that are None; controls are escaped."""
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
    """Access tokens that end before their time.

    Attributes:
        kind: ``jti`` (one token), ``family`` (those that came with one line of refresh tokens), ``key`` (those that a
            key obtained, by its thumbprint; or by `of_key` those that this client obtained with it), and of those
            issued until `at`: ``client`` (a client's), ``api`` (those for an API), ``all``. The rule is in
            oauth/revocations.py.
        value: which; empty for ``all``.
        at: when it was revoked, in seconds since the epoch.
        until: when the last of them would have ended.
    """

    kind: str
    value: str
    at: int
    until: int


class RefreshSelection(Value, frozen=True):
    """The refresh tokens to be revoked: those that fit all that is given."""

    client_id: str | None = None
    key_thumbprint: str | None = None
    resource: str | None = None
    family: str | None = None

    @property
    def reach(self) -> str:
        """The narrowest name that they have in common; of those of one token, `reaches` has all."""
        if self.family is not None:
            return f"family {self.family}"
        return "all" if self.client_id is None else f"client {self.client_id}"

    def fits(self, token: RefreshToken) -> bool:
        """Whether this one is among them."""
        return (
            self.client_id in (None, token.client_id)
            and self.family in (None, token.family)
            and self.key_thumbprint in (None, token.key_thumbprint)
            and (self.resource is None or self.resource in token.resource.split(" "))
        )


class RefreshEnd(Value, frozen=True):
    """The end of all refresh tokens of a selection, in one row: ended one by one, many would take longer than there is.

    Attributes:
        number: of the audit record that was written with it. What began later lives on: clocks differ, but each commit
            is before or after another.
        at: when, in seconds since the epoch.
    """

    selection: RefreshSelection
    number: int
    at: int


class Entry(Value, frozen=True):
    """What one request wants committed, all or nothing.

    Attributes:
        tolerate_repeat: a claim that is lost is recorded, not refused (guide profile).
        revocations: access tokens to be revoked.
        revoke_family: the line of refresh tokens to be revoked.
        revoke_refresh: more of them.
    """

    audit: AuditRecord
    claim: JtiClaim | None = None
    tolerate_repeat: bool = False
    new_refresh: RefreshToken | None = None
    rotation: Rotation | None = None
    revocations: tuple[Revocation, ...] = ()
    revoke_family: str | None = None
    revoke_refresh: RefreshSelection | None = None


class Outcome(Enum):
    """What became of an entry."""

    FIRST = "first"
    REPEATED = "repeated"
    REPLAYED = "assertion.replayed"
    REFRESH_UNKNOWN = "refresh_token.unknown"
    REFRESH_EXPIRED = "refresh_token.expired"
    REFRESH_REVOKED = "refresh_token.revoked"
    REFRESH_REUSED = "refresh_token.reused"

    @property
    def is_loss(self) -> bool:
        """Whether nothing of the entry was done but a record of the refusal."""
        return self not in (Outcome.FIRST, Outcome.REPEATED)


GENESIS = bytes(32)  # what the first audit record is chained to


def chain(previous: bytes, record: bytes, key: bytes = b"") -> bytes:
    """The link for this record: whoever edits, drops or moves one without the key breaks all that follow.

    Under the empty key, which everybody has, the chain shows accidents and clumsy hands only.
    """
    return hmac.digest(key, previous + record, sha256)


class AuditRow(NamedTuple):
    """An audit record as it stands in the log: `trace_id` is what it is looked up by, `record` what it says."""

    number: int
    trace_id: str
    record: bytes
    link: bytes


class AuditHead(NamedTuple):
    """Where the log ends: its newest record, and the highest number that was ever given."""

    number: int
    link: bytes
    given: int


def reaches(token: RefreshToken) -> tuple[str, ...]:
    """The reach of every selection that may fit this token."""
    return "all", f"client {token.client_id}", f"family {token.family}"


def as_ended(token: RefreshToken, ends: Iterable[RefreshEnd]) -> RefreshToken:
    """The token as these ends leave it; every adapter applies this one rule to each that it reads."""
    if token.revoked_at is None:
        fitting = (end.at for end in ends if token.began <= end.number and end.selection.fits(token))
        return replace(token, revoked_at=min(fitting, default=None))
    return token


def _spelled(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def escape_controls(data: bytes) -> bytes:
    """The same JSON, with nothing in it that a terminal or a reader of lines would obey."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", data.decode("utf-8")).encode("utf-8")
