"""The null client: an unknown client_id must cost the same work, and the same time, as a registered one."""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import cache

from affiant.errors import ConfigError
from affiant.jose import base64url, keys
from affiant.jose.algorithms import ALGORITHMS, SYMMETRIC
from affiant.oauth import names
from affiant.oauth.assertion import Rules
from affiant.server.registry.credentials.keys import ClientKeys
from affiant.server.registry.directory import RegisteredClient
from affiant.storage.records import Client

# It has no key and no secret: every proof fails, after one verification with a key of `dummy_keys`.
STRANGER = RegisteredClient(Client("", names.PRIVATE_KEY_JWT), ClientKeys(()), (), Rules(issuer="", token_endpoint=""))
_RSA_BITS = 3072


def dummy_keys(alg: str) -> tuple[keys.VerificationKey, ...]:
    """Return a key that verifies nothing, for this algorithm."""
    return (_key(alg if alg in ALGORITHMS else "ES256"),)


def prepare() -> None:
    """Make the keys now, so that no first request pays for them."""
    for alg in ALGORITHMS:
        _key(alg)


@cache
def _key(alg: str) -> keys.VerificationKey:
    if alg in SYMMETRIC:
        return keys.SecretKey(secrets.token_bytes(64), alg)
    return _rsa_key() if ALGORITHMS[alg].kty == "RSA" else keys.generate(alg).public()


@cache
def _rsa_key() -> keys.PublicKey:
    # The private key is not needed, so the modulus need not be a product of two primes, which take a third of a second
    # to find at each start. Any number without small factors takes as long to verify with.
    while True:
        modulus = secrets.randbits(_RSA_BITS) | 1 << (_RSA_BITS - 1) | 1
        n = base64url.encode(modulus.to_bytes(_RSA_BITS // 8, "big"))
        with suppress(ConfigError):
            return keys.parse_public_jwk({"kty": "RSA", "e": "AQAB", "n": n})
