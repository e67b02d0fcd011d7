"""The secrets of a client: at most two are live, so that the next can be handed out before the old one goes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from affiant.errors import ConfigError
from affiant.jose import base64url
from affiant.oauth import names
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import secret_purpose
from affiant.storage.records import Client, NotFound, StoredSecret

METHODS = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST, names.CLIENT_SECRET_JWT)
_BYTES = 32
_HASH_BYTES = {"HS384": 48, "HS512": 64}  # RFC 7518 section 3.2: a secret is as long as the hash


def make(
    client_id: str, *, auth_method: str, alg: str | None, master_key: MasterKey, now: int, name: str | None = None
) -> tuple[str, StoredSecret]:
    """A new secret: its text, which is shown once, and what is kept of it."""
    text = base64url.encode(secrets.token_bytes(_HASH_BYTES.get(alg or "", _BYTES)))
    name = name or secrets.token_hex(8)
    if auth_method == names.CLIENT_SECRET_JWT:
        # The MAC key must be recoverable, so it is sealed (RFC 7523 needs the secret itself).
        sealed = master_key.seal(text.encode(), purpose=secret_purpose(client_id))
        return text, StoredSecret(None, sealed, now, None, name)
    return text, StoredSecret(master_key.digest(text), None, now, None, name)


def live(standing: Sequence[StoredSecret], now: float) -> list[StoredSecret]:
    """Those that have not ended, the oldest first."""
    return [secret for secret in standing if secret.expires_at is None or secret.expires_at > now]


def start(client: Client, added: StoredSecret, *, now: int, old_expires_at: int | None = None) -> Client:
    """The client with this secret as well; what has ended is forgotten."""
    if client.token_endpoint_auth_method not in METHODS:
        raise ConfigError(f"{client.client_id} authenticates by {client.token_endpoint_auth_method}: it has no secret")
    standing = live(client.secrets, now)
    if len(standing) > 1:
        raise ConfigError(f"a rotation of {client.client_id}'s secret has begun already: complete or cancel it")
    if old_expires_at is not None and old_expires_at <= now:
        raise ConfigError("the old secret must end in the future; to end it now, complete the rotation")
    if any(secret.id == added.id for secret in client.secrets):
        raise ConfigError(f"{client.client_id} has a secret with the id {added.id} already: choose another id")
    left = [replace(secret, expires_at=old_expires_at or secret.expires_at) for secret in standing]
    return replace(client, secrets=(*left, added))


def complete(client: Client, *, now: int) -> Client:
    """The client with its newest secret alone: the old one ends now, the tokens that it obtained live on."""
    *old, newest = _both(client, now)
    return replace(client, secrets=(*(replace(secret, expires_at=now) for secret in old), newest))


def cancel(client: Client, *, now: int) -> Client:
    """The client with its old secret alone, which has no end then; the new one ends now."""
    *old, newest = _both(client, now)
    return replace(
        client,
        secrets=(*(replace(secret, expires_at=None) for secret in old), replace(newest, expires_at=now)),
    )


def revoke(client: Client, name: str, *, now: int) -> Client:
    """The client without this secret, which somebody else may have; who commits this ends its tokens too."""
    if not any(secret.id == name for secret in client.secrets):
        raise NotFound(f"{client.client_id} has no secret {name}")
    ended = (
        replace(secret, expires_at=now) if secret.id == name and secret in live(client.secrets, now) else secret
        for secret in client.secrets
    )
    return replace(client, secrets=tuple(ended))


def _both(client: Client, now: int) -> list[StoredSecret]:
    standing = live(client.secrets, now)
    if len(standing) < 2:  # noqa: PLR2004
        raise ConfigError(f"no rotation of {client.client_id}'s secret has begun")
    return standing
