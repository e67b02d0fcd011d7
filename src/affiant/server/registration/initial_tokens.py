"""Initial access tokens (RFC 7591 section 3): each lets clients register, within its bounds."""

from __future__ import annotations

import secrets

from affiant.errors import ConfigError
from affiant.jose import base64url
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import kinds
from affiant.storage.ports import Audit, Store
from affiant.storage.records import InitialAccessToken

MAX_USES = 10_000
MAX_LIFETIME = 366 * 86_400  # seconds
_BYTES = 32


async def issue(
    store: Store,
    master_key: MasterKey,
    *,
    scope: tuple[str, ...],
    resources: tuple[str, ...],
    lifetime_seconds: int,
    uses: int,
    now: int,
    types: tuple[str, ...] = (),
    id: str | None = None,  # noqa: A002 - its name
    team: str | None = None,
    audit: Audit | None = None,
) -> tuple[InitialAccessToken, str]:
    """Store a new token and return it with its text, of which only a keyed digest is stored."""
    if not 1 <= lifetime_seconds <= MAX_LIFETIME:
        raise ConfigError(f"the lifetime of an initial access token must be 1 to {MAX_LIFETIME} seconds")
    if not 1 <= uses <= MAX_USES:
        raise ConfigError(f"the uses of an initial access token must be 1 to {MAX_USES}")
    text = base64url.encode(secrets.token_bytes(_BYTES))
    token = InitialAccessToken(
        id=id or secrets.token_hex(8),
        digest=master_key.digest(text),
        scope=kinds.read("scope", kinds.SCOPE, scope),
        resources=kinds.read("resources", kinds.APIS, resources),
        created_at=now,
        expires_at=now + lifetime_seconds,
        uses=uses,
        authorization_details_types=kinds.read("authorization_details_types", kinds.TYPES, types),
        team=team,
    )
    await store.initial_access_tokens.add(token, audit=audit)
    return token, text
