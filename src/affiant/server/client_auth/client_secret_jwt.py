"""client_secret_jwt: the client's live secrets as MAC keys (OpenID Connect Core section 9)."""

from __future__ import annotations

from affiant.errors import Rejected
from affiant.jose.compact import Unverified
from affiant.jose.keys import VerificationKey
from affiant.reasons import Reason
from affiant.server.registry.directory import RegisteredClient


def candidates(client: RegisteredClient, unverified: Unverified, *, now: float) -> tuple[VerificationKey, ...]:
    """The secrets to try; a kid means nothing to them."""
    secrets = client.secrets(now)
    if not secrets:
        raise Rejected(Reason.KEY_NONE, expected="a secret")
    if unverified.alg != secrets[0].alg:
        raise Rejected(Reason.KEY_ALGORITHM, expected=secrets[0].alg, got=unverified.alg)
    return secrets
