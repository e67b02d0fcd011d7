"""Whether an access token of this server is active (RFC 7662 section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affiant.errors import Rejected
from affiant.jose.claims import audiences, instant, media_type, text
from affiant.oauth import names, resource_request
from affiant.oauth import revocations as rule
from affiant.server.registry.directory import Directory
from affiant.storage.entries import Revocation
from affiant.storage.ports import Revocations


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """An access token that this server signed and that has not expired. It may be revoked."""

    claims: dict[str, Any]
    client_id: str
    jti: str
    expires_at: int

    @property
    def audience(self) -> tuple[str, ...]:
        return audiences(self.claims)


def find(token: str, directory: Directory, *, issuer: str, now: float, late: int = 0) -> ActiveToken | None:
    """Return the token, or None if this server did not sign it or if it expired more than `late` seconds ago."""
    try:
        verified = resource_request.verify_signature(token, directory.published_keys())
        claims = verified.claims
        exp, iat, nbf = instant(claims, "exp"), instant(claims, "iat"), instant(claims, "nbf")
    except (Rejected, ValueError):
        return None
    client_id, jti = text(claims, "client_id"), text(claims, "jti")
    if exp is None or iat is None or client_id is None or jti is None or claims.get("iss") != issuer:
        return None
    if exp + late <= now or (nbf is not None and nbf > now):
        return None
    found = ActiveToken(claims, client_id, jti, int(exp))
    return found if media_type(verified.header.get("typ")) in _types(found, directory) else None


def find_transaction(token: str, directory: Directory, *, issuer: str, now: float) -> ActiveToken | None:
    """Return a transaction token of this server that has not expired, or None; its client is the one that got it."""
    try:
        verified = resource_request.verify_signature(token, directory.published_keys())
        exp = instant(verified.claims, "exp")
    except (Rejected, ValueError):
        return None
    claims = verified.claims
    if media_type(verified.header.get("typ")) != names.TXN_TOKEN_TYP or claims.get("iss") != issuer:
        return None
    workload, jti = text(claims, "req_wl"), text(claims, "jti")
    if exp is None or exp <= now or workload is None or jti is None:
        return None
    return ActiveToken(claims, workload, jti, int(exp))


def _types(found: ActiveToken, directory: Directory) -> set[str]:
    """Return the types that the token may have: that of RFC 9068, and those chosen for its APIs."""
    chosen = [api.access_token_typ.lower() for name in found.audience if (api := directory.api(name)) is not None]
    return {names.ACCESS_TOKEN_TYP, *chosen} - {names.TXN_TOKEN_TYP}  # which is no access token


async def is_revoked(claims: dict[str, Any], revocations: Revocations) -> bool:
    """Whether the token with these claims was revoked, itself or with one that it was exchanged for."""
    return bool(await find_revocations(claims, revocations))


async def find_revocations(claims: dict[str, Any], revocations: Revocations) -> list[Revocation]:
    """Return the revocations that end the token with these claims."""
    named = rule.named(claims)
    return [row for row in await revocations.find(list(named)) if row.at >= named[row.kind, row.value]]
