"""DPoP proofs as a stranger makes them: whatever header and claims, signed by whichever key."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from tests.attacks.bench import ABSENT, API, ISSUER, NOW

from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PrivateKey
from affiant.jose.signer import Signer

BOUND, STOLEN_BY = keys.generate("ES256"), keys.generate("ES256")
TOKEN_URL, API_URL = f"{ISSUER}/token", f"{API}/orders"


def jwk(key: PrivateKey = BOUND) -> dict[str, Any]:
    """The public key alone."""
    return {name: value for name, value in key.public().to_jwk().items() if name not in ("kid", "alg")}


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good proof for a token request, with these changes."""
    members = {"jti": "p", "htm": "POST", "htu": TOKEN_URL, "iat": NOW, **changes}
    return {name: value for name, value in members.items() if value != ABSENT}


def proof(signer: PrivateKey = BOUND, /, *, header: dict[str, Any] | None = None, by: Signer | None = None, **changes: Any) -> str:  # fmt: skip
    """A proof by this key, or one that only says so; `alg` and `kid` are those of who signs."""
    named = {"typ": "dpop+jwt", "jwk": jwk(signer), **(header or {})}
    shown = {name: value for name, value in named.items() if value != ABSENT}
    return compact.sign(shown, claims(**changes), by or signer)


def dpop(text: str) -> tuple[bytes, bytes]:
    """The header of a request."""
    return b"dpop", text.encode()


def api_proof(token: str, signer: PrivateKey = BOUND, /, **changes: Any) -> str:
    """A proof for GET /orders of the API with this token."""
    ath = base64url.encode(sha256(token.encode()).digest())
    return proof(signer, **{"htm": "GET", "htu": API_URL, "ath": ath, **changes})
