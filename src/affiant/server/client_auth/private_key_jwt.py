"""private_key_jwt: which registered keys may have signed an assertion (rung 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affiant.errors import Rejected
from affiant.reasons import Reason

if TYPE_CHECKING:
    from affiant.jose.compact import Unverified
    from affiant.jose.keys import VerificationKey
    from affiant.server.clients import RegisteredClient

MAX_CANDIDATES = 8  # signatures that one request can make the server verify


def candidates(client: RegisteredClient, unverified: Unverified, *, now: float) -> tuple[VerificationKey, ...]:  # noqa: ARG001 - keys have no end yet
    """The keys to try: the one that kid names, or every fitting one where there is no kid.

    Raises:
        Rejected: KEY_ALGORITHM, KEY_UNKNOWN or KEY_NONE.
    """
    pinned = client.record.token_endpoint_auth_signing_alg
    if pinned is not None and unverified.alg != pinned and {pinned, unverified.alg} != {"EdDSA", "Ed25519"}:
        raise Rejected(Reason.KEY_ALGORITHM, expected=pinned, got=unverified.alg)
    if unverified.kid is not None:
        key = client.keys.find(unverified.kid)
        if key is None:
            raise Rejected(Reason.KEY_UNKNOWN, expected=_names(client), got=unverified.kid[:100])
        if unverified.alg not in key.algorithms:
            raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(sorted(key.algorithms)), got=unverified.alg)
        return (key,)
    fitting = client.keys.candidates(unverified.alg)[:MAX_CANDIDATES]
    if not fitting:
        raise Rejected(Reason.KEY_NONE, expected=_names(client), got=unverified.alg)
    return fitting


def _names(client: RegisteredClient) -> str:
    return ", ".join(f"{key.kid} ({key.alg or key.kty})" for key in client.keys.keys)
