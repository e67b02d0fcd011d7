"""Keys of nobody: who asks for a client that does not exist must cost, and wait, as for one that does."""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import cache

from affiant.errors import Rejected
from affiant.jose import compact, keys
from affiant.jose.algorithms import ALGORITHMS, SYMMETRIC
from affiant.jose.compact import Unverified


@cache
def _key(alg: str) -> keys.VerificationKey:
    if alg in SYMMETRIC:
        return keys.SecretKey(secrets.token_bytes(64), alg)
    # One for all of RSA: each takes a good part of a second to make, and the server starts only after.
    return _rsa_key() if ALGORITHMS[alg].kty == "RSA" else keys.generate(alg).public()


@cache
def _rsa_key() -> keys.PublicKey:
    return keys.parse_public_jwk(
        {name: value for name, value in keys.generate("RS256").public().to_jwk().items() if name != "alg"}
    )


def prepare() -> None:
    """Make the keys now, so that no first request pays for them."""
    for alg in ALGORITHMS:
        _key(alg)


def keys_of(alg: str) -> tuple[list[keys.PublicKey], list[keys.SecretKey]]:
    """Return the keys and the secrets of a client that does not exist, for this algorithm."""
    key = _key(alg if alg in ALGORITHMS else "ES256")
    return ([], [key]) if isinstance(key, keys.SecretKey) else ([key], [])


def verify(unverified: Unverified) -> None:
    """Verify the signature under a key of nobody, and forget the result."""
    with suppress(Rejected):
        compact.verify(unverified, _key(unverified.alg if unverified.alg in ALGORITHMS else "ES256"))
