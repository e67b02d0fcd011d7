"""The secrets of a client: at most two are live, so that the next can be handed out before the old one ends."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from affiant.jose import base64url
from affiant.oauth import names
from affiant.server.keys.master_key import MasterKey
from affiant.storage.records import StoredSecret

_BYTES = 32
_HASH_BYTES = {"HS384": 48, "HS512": 64}  # RFC 7518 section 3.2: a secret is as long as the hash


def make(
    client_id: str, *, auth_method: str, alg: str | None, master_key: MasterKey, now: int, name: str | None = None
) -> tuple[str, StoredSecret]:
    """Return the text of a new secret, which is shown once, and what is stored of it; `name` is its id."""
    text = base64url.encode(secrets.token_bytes(_HASH_BYTES.get(alg or "", _BYTES)))
    name = name or secrets.token_hex(8)
    if auth_method == names.CLIENT_SECRET_JWT:
        # The MAC key must be recoverable, so it is sealed (RFC 7523 needs the secret itself).
        return text, StoredSecret(None, master_key.seal(text.encode(), purpose=purpose(client_id)), now, None, name)
    return text, StoredSecret(master_key.digest(text), None, now, None, name)


def purpose(client_id: str) -> str:
    """Return what a secret is sealed for: a seal for one client opens for no other."""
    return f"client-secret/{client_id}"


def is_live(secret: StoredSecret, now: float) -> bool:
    return secret.expires_at is None or secret.expires_at > now


def live(held: Sequence[StoredSecret], now: float) -> list[StoredSecret]:
    """Return those that have not ended, the oldest first."""
    return [secret for secret in held if is_live(secret, now)]
