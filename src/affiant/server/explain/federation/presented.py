"""The platform's token of a request, as its text or its audit record has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.federation.conditions import Scalar
from affiant.server.explain.federation import jobs
from affiant.server.explain.federation.jobs import Job
from affiant.server.registry.federation import claims as kept_claims
from affiant.server.registry.federation import nearest
from affiant.server.registry.federation.known import Federation, KnownTrust
from affiant.server.registry.federation.nearest import Nearest
from affiant.server.registry.kinds import is_visible
from affiant.storage.records import Rule

_REASONS = {reason.code: reason for reason in Reason}


@dataclass(slots=True)
class Presented:
    """A token, the trust that it belongs to, and the rules of that trust compared with it."""

    issuer: str  # that it claims
    claims: dict[str, Any] = field(repr=False)  # by name or JSON Pointer
    federation: Federation
    is_verified: bool = False  # whether a trust's key made the signature
    of_person: bool = False
    by_name: bool = False  # whether the operator named the trust
    as_subject: bool = False  # whether it was to be exchanged; its sender has credentials of its own
    refusals: tuple[Rejected, ...] = ()  # of this token alone
    trust: KnownTrust | None = None
    nearest: Nearest | None = None
    rules: tuple[Nearest, ...] = ()  # all of the trust, the nearest first
    chosen: Rule | None = None  # the one that the token meets
    trace_id: str | None = None  # of the request, if it was one

    @property
    def client_id(self) -> str | None:
        """The client that its rule names."""
        if self.chosen is not None:
            return self.chosen.client_id
        return (self.nearest.client_id if self.nearest is not None else None) or None

    @property
    def subject(self) -> str:
        return str(self.claims.get("sub") or "")

    @property
    def job(self) -> Job:
        known = jobs.named(self.trust.record.preset) if self.trust is not None else None
        return known or jobs.find(self.issuer, self.subject, self.claims.keys())

    @property
    def trusts(self) -> Sequence[KnownTrust]:
        return self.federation.trusts

    def proposable(self, claim: str) -> Scalar | None:
        """Return the value of a claim if a condition can have it; a cut or invisible one would be another."""
        value = self.claims.get(kept_claims.plain(claim))
        if isinstance(value, str) and (not is_visible(value) or not value or value.endswith("*")):
            return None
        return value if isinstance(value, str | bool | int) and kept_claims.is_whole(value) else None


def of_record(record: dict[str, Any], federation: Federation) -> Presented | None:
    """Return the token in the audit record of a request; None if the request had none."""
    issuer, kept = record.get("issuer"), kept_claims.parse(record.get("claims"))
    if not isinstance(issuer, str) or not is_platforms(issuer, kept.claims.get("sub") if kept else None):
        return None
    found = Presented(
        issuer, kept.claims if kept else {}, federation, trace_id=str(record.get("trace_id") or "") or None
    )
    if kept is not None:
        found.is_verified, found.of_person = kept.verified, kept.of_person
    found.nearest = nearest.parse(record.get("nearest"))
    name = found.nearest.trust if found.nearest else str(record.get("rule") or "").partition("/")[0]
    same = federation.find(issuer)
    found.trust = next((one for one in federation.trusts if one.name == name), next(iter(same), None))
    found.as_subject = str(record.get("reason") or "").startswith("exchange.")
    if found.as_subject:
        also = known_reasons(str(record.get("also") or "").split())
        found.refusals = tuple(Rejected(reason, got=str(record.get("got") or "")) for reason in also)
    rule = str(record.get("rule") or "").partition("/")[2]
    if found.trust is not None:
        found.chosen = next((one for one in found.trust.rules if one.name == rule), None)
    if found.nearest is not None and found.nearest.rule:
        found.rules = (found.nearest,)
        found.nearest = _completed(found.nearest, found.trust)
    return found


def known_reasons(codes: Iterable[str]) -> list[Reason]:
    """Return the reasons with these codes, without those that only another version knows."""
    return [_REASONS[code] for code in codes if code in _REASONS]


def _completed(found: Nearest, trust: KnownTrust | None) -> Nearest:
    rules = trust.rules if trust is not None else ()
    rule = next((one for one in rules if one.name == found.rule), None)
    return found if rule is None else nearest.complete(found, rule)


def elsewhere(claims: dict[str, Any]) -> Presented:
    """Return the token as a server elsewhere sees it; the trusts of that server are not known here."""
    issuer = next((str(claims[name]) for name in ("iss", "sub") if isinstance(claims.get(name), str)), "")
    kept = dict(kept_claims.walk(claims))
    return Presented(issuer, kept, Federation(""), of_person=kept_claims.is_of_person(claims))


def is_platforms(issuer: object, subject: object) -> bool:
    """Whether these are the issuer and subject of a platform's token, not a mistyped client_id."""
    is_account = isinstance(subject, str) and subject.startswith("system:serviceaccount:")
    return is_account or (isinstance(issuer, str) and "://" in issuer)
