"""Find out how a signature that does not verify was made: with another hash, padding or key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from affiant.jose.algorithms import PublicCryptoKey
from affiant.jose.keys import PublicKey

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_OTHER = "another key made it, or it is over other bytes"


class _Way(NamedTuple):
    """A way to sign, in words and in fact."""

    words: str
    digest: hashes.HashAlgorithm
    pad: padding.AsymmetricPadding
    data: bytes


def find_mistake(public: PublicKey, alg: str, data: bytes, signature: bytes) -> str:
    """Return in words what an ECDSA or RSA signature was made with instead."""
    if alg[2:] not in _HASHES:  # EdDSA and ML-DSA can be made in one way only
        return _OTHER
    for way in _ways(alg, data):
        with suppress(InvalidSignature, ValueError):
            _verify(public.key, way, signature)
            return way.words
    return _OTHER


def _ways(alg: str, data: bytes) -> Iterator[_Way]:
    due = _HASHES[alg[2:]]
    # The salt of PS* is as long as the hash (RFC 7518 section 3.5); AUTO verifies any.
    pss, pkcs1 = padding.PSS(padding.MGF1(due), padding.PSS.AUTO), padding.PKCS1v15()
    own, other = (pss, pkcs1) if alg.startswith("PS") else (pkcs1, pss)
    yield _Way(f"its salt is not as long as the hash, as {alg} needs it (RFC 7518 section 3.5)", due, own, data)
    yield _Way(
        f"its padding is {'PKCS #1 v1.5' if other is pkcs1 else 'PSS'}, which is not that of {alg}", due, other, data
    )
    for size, digest in _HASHES.items():
        if digest is not due:
            pad = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO) if own is pss else pkcs1
            yield _Way(f"its hash is SHA-{size}, and that of {alg} is SHA-{alg[2:]}", digest, pad, data)
    hashed = hashes.Hash(due)
    hashed.update(data)
    yield _Way("it is over the hash of the digest: the digest was given as a message", due, own, hashed.finalize())


def _verify(key: PublicCryptoKey, way: _Way, signature: bytes) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        key.verify(encode_dss_signature(r, s), way.data, ec.ECDSA(way.digest))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, way.data, way.pad, way.digest)
    else:
        raise InvalidSignature
