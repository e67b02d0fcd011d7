"""private_key_jwt: which registered keys may have signed an assertion (rung 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affiant.errors import Rejected
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.compact import Unverified
from affiant.jose.jwk import MAX_KID
from affiant.jose.keys import PublicKey, VerificationKey
from affiant.reasons import Reason
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.remote_keys import Wanted

MAX_CANDIDATES = 8  # signatures that one request can make the server verify


def candidates(client: RegisteredClient, unverified: Unverified, *, now: float) -> tuple[VerificationKey, ...]:
    """Return the keys to try: those that kid names, or every fitting one where there is no kid.

    Several may have one kid (RFC 7517 section 4.5); they are tried in their order.
    """
    _check_algorithm(client, unverified)
    usable = client.keys.usable(now)
    if unverified.kid is not None:
        named = [key for key in usable if key.kid == unverified.kid]
        if not named:
            raise Rejected(Reason.KEY_UNKNOWN, expected=_names(usable), got=unverified.kid[:100])
        fitting = tuple(key for key in named if unverified.alg in key.algorithms)[:MAX_CANDIDATES]
        if not fitting:
            algs = sorted({alg for key in named for alg in key.algorithms})
            raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(algs), got=unverified.alg)
        return fitting
    fitting = tuple(key for key in usable if unverified.alg in key.algorithms)[:MAX_CANDIDATES]
    if not fitting:
        raise Rejected(Reason.KEY_NONE, expected=_names(usable), got=unverified.alg)
    return fitting


def wanted(client: RegisteredClient, unverified: Unverified) -> Wanted:
    """Which key is needed, of a client that publishes its keys elsewhere."""
    _check_algorithm(client, unverified)
    kid, alg = unverified.kid, unverified.alg
    if alg not in ASYMMETRIC:
        raise Rejected(Reason.KEY_ALGORITHM, expected="a public key", got=alg)
    if kid is not None:
        return Wanted(kid[:MAX_KID], lambda key: key.kid == kid)
    return Wanted(f"any {alg}", lambda key: alg in key.algorithms)


def wanted_instead(unverified: Unverified, tried: Sequence[VerificationKey]) -> Wanted:
    """Return the key to fetch when none of these made the signature: another one that fits."""
    kid, alg, known = unverified.kid, unverified.alg, {key.thumbprint for key in tried}
    name = f"not the known one for {kid[:MAX_KID] if kid is not None else alg}"
    return Wanted(name, lambda key: kid in (None, key.kid) and alg in key.algorithms and key.thumbprint not in known)


def check_jku(client: RegisteredClient, header: dict[str, Any]) -> list[Reason]:
    """Reject a `jku` other than the registered jwks_uri; the server never fetches a jku (RFC 7515 section 4.1.2).

    SMART App Launch, "Signature verification", step 1a. A client with registered keys has no address to compare with:
    its jku is ignored, and returned as an observed breach.
    """
    if "jku" not in header:
        return []
    if client.record.jwks_uri is None:
        return [Reason.JKU]
    if header["jku"] != client.record.jwks_uri:
        raise Rejected(Reason.JKU, expected=client.record.jwks_uri, got=str(header["jku"])[:100])
    return []


def _check_algorithm(client: RegisteredClient, unverified: Unverified) -> None:
    pinned = client.record.token_endpoint_auth_signing_alg
    if pinned is not None and unverified.alg != pinned and {pinned, unverified.alg} != {"EdDSA", "Ed25519"}:
        raise Rejected(Reason.KEY_ALGORITHM, expected=pinned, got=unverified.alg)
    if not client.demands.allows_algorithm(unverified.alg):
        raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(client.demands.algorithms or ()), got=unverified.alg)


def _names(keys: Sequence[PublicKey]) -> str:
    return ", ".join(f"{key.kid} ({key.alg or key.kty})" for key in keys)
