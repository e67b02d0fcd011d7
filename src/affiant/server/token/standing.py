"""Whether an access token of this server still stands (RFC 7662 section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affiant.errors import Rejected
from affiant.jose import compact
from affiant.oauth import names
from affiant.oauth.claims import audiences, instant, media_type, text
from affiant.oauth.standing import revocations as rule
from affiant.server.registry.directory import Directory
from affiant.storage.ports import Revocations


@dataclass(frozen=True, slots=True)
class Standing:
    """An access token that this server signed and that still counts; it may have been revoked."""

    claims: dict[str, Any]
    client_id: str
    jti: str
    expires_at: int

    @property
    def audience(self) -> tuple[str, ...]:
        """The APIs that it is for."""
        return audiences(self.claims)


def find(token: str, directory: Directory, *, issuer: str, now: float, late: int = 0) -> Standing | None:
    """What this token is, or None where it is none of ours, or none any more."""
    try:
        unverified = compact.parse(token)
        key = directory.published_keys().find(unverified.kid) if unverified.kid is not None else None
        if key is None:
            return None
        claims = compact.verify(unverified, key).claims
        exp, iat, nbf = instant(claims, "exp"), instant(claims, "iat"), instant(claims, "nbf")
    except (Rejected, ValueError):
        return None
    client_id, jti = text(claims, "client_id"), text(claims, "jti")
    found = Standing(claims, client_id or "", jti or "", int(exp or 0))
    is_ours = media_type(unverified.header.get("typ")) in _types(found, directory) and claims.get("iss") == issuer
    if not is_ours or exp is None or iat is None or client_id is None or jti is None:
        return None
    if exp + late <= now or (nbf is not None and nbf > now):
        return None
    return found


def _types(found: Standing, directory: Directory) -> set[str]:
    """Return the types that the token may have: that of RFC 9068, and those chosen for its APIs."""
    chosen = [api.access_token_typ.lower() for name in found.audience if (api := directory.api(name)) is not None]
    return {names.ACCESS_TOKEN_TYP, *chosen}


async def is_revoked(standing: Standing, revocations: Revocations) -> bool:
    """Whether it was revoked: alone, or with others of its family, its client, that client's key, its API, its time."""
    found = await revocations.find(rule.named(standing.claims))
    return any(rule.ends(row.kind, row.at, standing.claims) for row in found)
