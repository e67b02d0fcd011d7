"""Challenges of WebAuthn: not stored, so that a stranger who asks for many leaves nothing behind.

Each has its end and a MAC; the store remembers those that were answered until then, so that no answer counts twice.
"""

from __future__ import annotations

import hmac
import secrets

from affiant.jose import base64url, strict_json
from affiant.server.keys.master_key import MasterKey
from affiant.storage.records import UsedChallenge

SECONDS = 300
SIGN_IN = "sign-in"  # what a challenge is for; another one is for a new passkey in one session
_NONCE, _INSTANT, _MAC = 16, 8, 32  # bytes
_LENGTH = _NONCE + _INSTANT + _MAC


class Challenges:
    """Makes and checks the challenges of one server; all its workers and nodes accept each other's."""

    def __init__(self, master_key: MasterKey) -> None:
        self._key = master_key

    def make(self, purpose: str, now: float) -> bytes:
        """Return a new challenge for this purpose."""
        begun = secrets.token_bytes(_NONCE) + (int(now) + SECONDS).to_bytes(_INSTANT, "big")
        return begun + self._mac(begun, purpose)

    def check(self, challenge: bytes, purpose: str, now: float) -> UsedChallenge:
        """Return what the store remembers of this challenge; raise ValueError if it is none of ours, or has expired."""
        begun, mac = challenge[: _NONCE + _INSTANT], challenge[_NONCE + _INSTANT :]
        if len(challenge) != _LENGTH or not hmac.compare_digest(mac, self._mac(begun, purpose)):
            raise ValueError("the challenge is not of this server, or of another session")
        end = int.from_bytes(begun[_NONCE:], "big")
        if not now < end <= now + SECONDS + 1:
            raise ValueError("the challenge has expired")
        return UsedChallenge(begun[:_NONCE].hex(), end)

    def _mac(self, begun: bytes, purpose: str) -> bytes:
        return self._key.digest(f"console challenge {begun.hex()} {purpose}")


def challenge_of(client_data: object) -> bytes:
    """Return the challenge in a clientDataJSON, in base64url (WebAuthn section 5.8.1); raise ValueError without one."""
    if not isinstance(client_data, str):
        raise ValueError("the answer has no clientDataJSON")  # noqa: TRY004 - callers catch one kind
    challenge = strict_json.parse_object(base64url.decode(client_data)).get("challenge")
    if not isinstance(challenge, str):
        raise ValueError("clientDataJSON has no challenge")  # noqa: TRY004
    return base64url.decode(challenge)
