"""What callers of a guarded application send, with and without a proof."""

from typing import Any

from tests.unit.resource.issuer import API, NOW, Issuer

from affiant.jose import keys
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import Nonces

ISSUER = Issuer()
GUARD = ISSUER.guard()
KEY = dpop.ProofKey.of(keys.generate("ES256"))
NONCE_KEY = b"sixteen letters!"
OLD_NONCE, NEXT_NONCE = (Nonces(NONCE_KEY).current(now) for now in (NOW - 300, NOW))


def bearer(scope: str = "", **claims: Any) -> dict[str, str]:
    return {"Authorization": ISSUER.token(scope=scope, **claims).decode()}


def proven(path: str, *, nonce: str | None = None, scope: str = "a b") -> dict[str, str]:
    """Return the headers of a GET with a token that is bound to a key, and its proof."""
    token = ISSUER.token(scope=scope, cnf={"jkt": KEY.thumbprint})[7:].decode()
    proof = dpop.build(KEY, method="GET", url=f"{API}{path}", now=NOW, access_token=token, nonce=nonce)
    return {"Authorization": f"DPoP {token}", "DPoP": proof}
