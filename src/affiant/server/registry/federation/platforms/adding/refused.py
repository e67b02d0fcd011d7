"""A refused token in the audit log, from which a trust and a rule are proposed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from affiant.errors import ConfigError
from affiant.server.registry.federation import claims as kept_claims
from affiant.server.registry.federation import nearest
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.platform import Platform
from affiant.server.registry.federation.platforms.table import PLATFORMS
from affiant.system.values import Value

_NAMED_BY = ("repository", "project_path", "terraform_workspace_name", "pipeline_slug", "project", "app_name", "sub")
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class RefusedToken(Value, frozen=True):
    """The claims of a refused token, and the client that it may be meant for."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"claims"})

    issuer: str
    claims: dict[str, Any]
    platform: Platform
    is_verified: bool  # whether a trust had verified its signature
    trust: str | None  # name of the trust that verified it
    client_id: str

    def check_client(self) -> None:
        """Raise ConfigError where a stranger may have chosen a client that is registered, and so has rights.

        Attack: any tenant of a shared issuer, or anyone with claims that no trust verified, names the client of others.
        """
        if self.platform.is_shared or not self.is_verified:
            raise ConfigError(
                f"the client {self.client_id} is there already, and whoever sent this token may have named it: say for"
                f" which client it shall speak, with  --client {self.client_id}  or another"
            )


def read(record: Mapping[str, Any], trusts: Collection[Mapping[str, Any]]) -> RefusedToken:
    """Return the token of this audit record; raise ConfigError if it has none, or no rule may be made from it."""
    kept, issuer = kept_claims.parse(record.get("claims")), record.get("issuer")
    if kept is None or not isinstance(issuer, str):
        raise ConfigError(
            f"the request {record.get('trace_id')} had no platform's token that was refused:"
            f" affiant explain {record.get('trace_id')}"
        )
    if kept.of_person:
        raise ConfigError("this is the token of a person who signed in: a trust takes those of workloads")
    found = nearest.parse(record.get("nearest"))
    known = next((one for one in trusts if found is not None and one["name"] == found.trust), None)
    platform = PLATFORMS[known["preset"]] if known is not None else proposal.find_platform(issuer)
    claims = kept.nested
    proposal.check_claims(platform, claims)
    named = [found.client_id if found is not None else "", record.get("client_claimed") or "", _name(issuer, claims)]
    return RefusedToken(
        issuer=issuer,
        claims=claims,
        platform=platform,
        is_verified=kept.verified,
        trust=known["name"] if known is not None else None,
        client_id=next(name for name in named if _PLAIN.fullmatch(name)),
    )


def _name(issuer: str, claims: dict[str, Any]) -> str:
    """Return a client_id made of the name of the workload."""
    text = next((str(claims[name]) for name in _NAMED_BY if claims.get(name)), issuer)
    words = re.sub(r"[^a-z0-9._-]+", "-", text.removeprefix("spiffe://").removeprefix("system:serviceaccount:").lower())
    return words.strip("-._")[:48].strip("-._") or "workload"
