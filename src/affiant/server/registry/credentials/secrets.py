"""The secrets of a client: at most two are live, so that the next can be handed out before the old one ends."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from affiant.errors import ConfigError
from affiant.jose import base64url
from affiant.oauth import names
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import client_secret_purpose
from affiant.storage.records import StoredSecret

_BYTES = 32
_HASH_BYTES = {"HS384": 48, "HS512": 64}  # RFC 7518 section 3.2: a secret is as long as the hash
SHORTEST, LONGEST = 22, 512  # characters; 22 of base64url are 128 bits (RFC 6749 section 10.10)
_DIFFERENT = 10  # characters: fewer than in any random secret of that length
_VISIBLE = re.compile(r"[!-~]+")  # RFC 6749 appendix A.2, without the space
_HASH = re.compile(r"\$[a-z0-9-]+\$", re.IGNORECASE)  # how bcrypt, PBKDF2 and Argon2 write theirs
_REPEATED = re.compile(r"(.+?)\1+")
_WORDS = ("secret", "password", "changeme", "change-me", "change_me", "example")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The id of a secret, and its text if the client brings the one that it has at another server."""

    id: str | None = None
    text: str | None = field(default=None, repr=False)


def make(
    client_id: str, *, auth_method: str, alg: str | None, master_key: MasterKey, now: int, wanted: Wanted | None = None
) -> tuple[str, StoredSecret]:
    """Return the text of a secret, and what is stored of it."""
    wanted = wanted or Wanted()
    if wanted.text is not None:
        check(wanted.text, client_id=client_id, least=hash_bytes(alg) if auth_method == names.CLIENT_SECRET_JWT else 0)
    text = wanted.text or base64url.encode(secrets.token_bytes(hash_bytes(alg)))
    name = wanted.id or secrets.token_hex(8)
    if auth_method == names.CLIENT_SECRET_JWT:
        # The MAC key must be recoverable, so it is sealed (RFC 7523 needs the secret itself).
        return text, StoredSecret(
            None, master_key.seal(text.encode(), purpose=client_secret_purpose(client_id)), now, None, name
        )
    return text, StoredSecret(master_key.digest(text), None, now, None, name)


def hash_bytes(alg: str | None) -> int:
    """Return how long a secret for this algorithm is at least, in bytes."""
    return _HASH_BYTES.get(alg or "", _BYTES)


def check(text: str, *, client_id: str, least: int = 0) -> None:
    """Raise ConfigError if this secret, which a person may have chosen, can be guessed; `least` is in bytes.

    The message has no part of it.
    """
    least = max(least, SHORTEST)
    if _HASH.match(text):
        raise ConfigError("client_secret is the hash of a secret: no client can authenticate with that")
    if not _VISIBLE.fullmatch(text):
        raise ConfigError("client_secret may have only visible ASCII characters, and no space")
    if not least <= len(text) <= LONGEST:
        raise ConfigError(f"client_secret must have {least} to {LONGEST} characters, not {len(text)}")
    lower = text.lower()
    guessed = next((word for word in (*_WORDS, client_id.lower()) if len(word) > 1 and word in lower), None)
    if guessed is not None:
        raise ConfigError("client_secret can be guessed: it has the client_id or a word such as password in it")
    if len(set(text)) < _DIFFERENT or _REPEATED.fullmatch(text):
        raise ConfigError("client_secret can be guessed: its characters repeat")


def is_live(secret: StoredSecret, now: float) -> bool:
    return secret.expires_at is None or secret.expires_at > now


def live(held: Sequence[StoredSecret], now: float) -> list[StoredSecret]:
    """Return those that have not ended, the oldest first."""
    return [secret for secret in held if is_live(secret, now)]
