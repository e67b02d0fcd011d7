"""private_key_jwt: which registered keys may have signed an assertion (rung 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affiant.errors import Rejected
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.jwk import MAX_KID
from affiant.reasons import Reason
from affiant.server.registry.remote_keys import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affiant.jose.compact import Unverified
    from affiant.jose.keys import PublicKey, VerificationKey
    from affiant.server.registry.directory import RegisteredClient

MAX_CANDIDATES = 8  # signatures that one request can make the server verify


def candidates(client: RegisteredClient, unverified: Unverified, *, now: float) -> tuple[VerificationKey, ...]:
    """The keys to try: the one that kid names, or every fitting one where there is no kid.

    Raises:
        Rejected: KEY_ALGORITHM, KEY_UNKNOWN or KEY_NONE.
    """
    _check_algorithm(client, unverified)
    usable = client.keys.usable(now)
    if unverified.kid is not None:
        key = next((key for key in usable if key.kid == unverified.kid), None)
        if key is None:
            raise Rejected(Reason.KEY_UNKNOWN, expected=_names(usable), got=unverified.kid[:100])
        if unverified.alg not in key.algorithms:
            raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(sorted(key.algorithms)), got=unverified.alg)
        return (key,)
    fitting = tuple(key for key in usable if unverified.alg in key.algorithms)[:MAX_CANDIDATES]
    if not fitting:
        raise Rejected(Reason.KEY_NONE, expected=_names(usable), got=unverified.alg)
    return fitting


def wanted(client: RegisteredClient, unverified: Unverified) -> Wanted:
    """Which key is needed, of a client that publishes its keys elsewhere.

    Raises:
        Rejected: KEY_ALGORITHM; then nothing needs to be fetched.
    """
    _check_algorithm(client, unverified)
    kid, alg = unverified.kid, unverified.alg
    if alg not in ASYMMETRIC:
        raise Rejected(Reason.KEY_ALGORITHM, expected="a public key", got=alg)
    if kid is not None:
        return Wanted(kid[:MAX_KID], lambda key: key.kid == kid)
    return Wanted(f"any {alg}", lambda key: alg in key.algorithms)


def _check_algorithm(client: RegisteredClient, unverified: Unverified) -> None:
    pinned = client.record.token_endpoint_auth_signing_alg
    if pinned is not None and unverified.alg != pinned and {pinned, unverified.alg} != {"EdDSA", "Ed25519"}:
        raise Rejected(Reason.KEY_ALGORITHM, expected=pinned, got=unverified.alg)
    if not client.demands.allows_algorithm(unverified.alg):
        raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(client.demands.algorithms or ()), got=unverified.alg)


def _names(keys: Sequence[PublicKey]) -> str:
    return ", ".join(f"{key.kid} ({key.alg or key.kty})" for key in keys)
