"""Algorithm key pairs: ML-DSA-44, -65 and -87 as JSON Web Keys (RFC 9964).

`alg` is part of the key: it says what the bytes are. The private part is the seed of 32 bytes, never the expanded key.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa

from affiant.errors import ConfigError
from affiant.jose import base64url
from affiant.jose.algorithms import MLDSAPrivateKey, MLDSAPublicKey

SEED_BYTES = 32
PUBLIC_BYTES = {"ML-DSA-44": 1312, "ML-DSA-65": 1952, "ML-DSA-87": 2592}  # RFC 9964 section 5, FIPS 204 table 2

_PUBLIC: dict[str, type[MLDSAPublicKey]] = {
    "ML-DSA-44": mldsa.MLDSA44PublicKey,
    "ML-DSA-65": mldsa.MLDSA65PublicKey,
    "ML-DSA-87": mldsa.MLDSA87PublicKey,
}
_PRIVATE: dict[str, type[MLDSAPrivateKey]] = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}


def parse(jwk: dict[str, Any]) -> MLDSAPublicKey | MLDSAPrivateKey:
    """The key in this JWK: the private one where it has `priv`."""
    alg = jwk.get("alg")
    if not isinstance(alg, str) or alg not in _PUBLIC:
        raise ConfigError(f"a key of type AKP needs alg, one of: {', '.join(_PUBLIC)} (RFC 9964)")
    pub = _member(jwk, "pub", PUBLIC_BYTES[alg], alg)
    try:
        if "priv" not in jwk:
            return _PUBLIC[alg].from_public_bytes(pub)
        private = _PRIVATE[alg].from_seed_bytes(_member(jwk, "priv", SEED_BYTES, alg))
    except UnsupportedAlgorithm:
        raise ConfigError(f"{alg} needs a cryptography that was built with OpenSSL 3.5 or newer") from None
    if private.public_key().public_bytes_raw() != pub:
        raise ConfigError("pub is not the public part of priv")
    return private


def build(key: object) -> dict[str, Any] | None:
    """The members of the JWK of this key: kty, alg, pub, and priv where it is private; None for another kind of key."""
    for alg, private in _PRIVATE.items():
        if isinstance(key, private):
            pub = key.public_key().public_bytes_raw()
            return {**_members(alg, pub), "priv": base64url.encode(key.private_bytes_raw())}
    for alg, public in _PUBLIC.items():
        if isinstance(key, public):
            return _members(alg, key.public_bytes_raw())
    return None


def generate(alg: str) -> MLDSAPrivateKey:
    """A new private key of this parameter set."""
    return _PRIVATE[alg].generate()


def _members(alg: str, pub: bytes) -> dict[str, Any]:
    return {"kty": "AKP", "alg": alg, "pub": base64url.encode(pub)}


def _member(jwk: dict[str, Any], name: str, size: int, alg: str) -> bytes:
    try:
        value = base64url.decode(jwk[name])
    except (KeyError, TypeError, ValueError):
        value = b""
    if len(value) != size:
        raise ConfigError(f"{name} of a key for {alg} must be {size} bytes in base64url without padding")
    return value
