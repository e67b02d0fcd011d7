"""The documents of trusts, rules and refused tokens; members of records come from registry/federation/fields.py."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from affiant.server.admin.models import Checked, In, Out, shows, takes
from affiant.server.registry import kinds
from affiant.server.registry.federation import fields
from affiant.server.registry.federation.keys import Found
from affiant.server.registry.fields import By
from affiant.storage import records

Name = Annotated[str, Checked(fields.NAME)]
ClientId = Annotated[str, Checked(kinds.CLIENT_ID)]
Issuer = Annotated[str, Checked(kinds.ISSUER)]


@shows(fields.TRUST, records.Trust)
class _TrustMembers(Out):
    name: str


class Trust(_TrustMembers):
    """An issuer whose tokens identify workloads, and its rules for them."""

    jwks_at: int | None
    created_at: int


class TrustKey(Out):
    """A key that signs the tokens of a trust."""

    kid: str
    thumbprint: Annotated[str, Field(description="RFC 7638, SHA-256")]
    algorithms: list[str]


class TrustKeys(Out):
    """The keys that a trust has now."""

    uri: Annotated[str | None, Field(description="from which they were fetched; null for uploaded ones")]
    keys: list[TrustKey]
    left_out: Annotated[list[str], Field(description="members of the set that are not used, and why")]
    in_use: Annotated[str | None, Field(description="age and address of the set that this process verifies with")]
    problem: Annotated[str | None, Field(description="why they cannot be obtained")]


@takes(fields.TRUST.by(By.NEW))
class TrustNew(In):
    """A trust to be registered."""

    name: Name
    issuer: Issuer


@takes(fields.TRUST.by(By.CHANGE))
class TrustChanges(In):
    """Changes of a trust; members that are left out stay. New keys, or their address, replace those before."""


@shows(fields.RULE, records.Rule)
class _RuleMembers(Out):
    name: str


class Rule(_RuleMembers):
    """The client for whom a token of a trust speaks, by its claims, and the most that it gets."""

    created_at: int


@takes(fields.RULE.by(By.NEW))
class RuleNew(In):
    """A rule to be registered."""

    name: Name
    trust: Name
    client_id: ClientId


@takes(fields.RULE.by(By.CHANGE))
class RuleChanges(In):
    """Changes of a rule; members that are left out stay."""


class PlannedTrust(In):
    """A token of a job, and the trust and rule that would take it; a registered trust is named by the rule alone."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    trust: dict[str, Any] | None = Field(default=None, description="members of a new trust")
    rule: dict[str, Any] = Field(description="members of the rule")
    at: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = None


class RefusedTokens(Out):
    """Platforms' tokens of one issuer that were refused for one reason, the newest of them with its trace_id."""

    issuer: str
    reason: str
    count: int
    at: float = Field(description="when the newest was refused")
    trace_id: str
    subject: str | None = Field(description="sub of the newest, as far as the audit log keeps it")
    verified: bool = Field(description="whether a trust had verified the signature of the newest")


def view_trust(record: records.Trust) -> Trust:
    members = fields.TRUST.render(record)
    return Trust(name=record.name, jwks_at=record.jwks_at, created_at=record.created_at, **members)


def view_keys(found: Found, *, in_use: str | None) -> TrustKeys:
    shown = [TrustKey(kid=key.kid, thumbprint=key.thumbprint, algorithms=sorted(key.algorithms)) for key in found.keys]
    return TrustKeys(uri=found.uri, keys=shown, left_out=list(map(str, found.left_out)), in_use=in_use, problem=None)


def view_rule(record: records.Rule) -> Rule:
    return Rule(name=record.name, created_at=record.created_at, **fields.RULE.render(record))
