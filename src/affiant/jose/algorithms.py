"""The accepted signature algorithms (RFC 7518 section 3, RFC 8037, RFC 9864, RFC 9964).

Attack: a header with HS256 makes a MAC key of a public key. Each algorithm accepts one type of key only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

MLDSAPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
MLDSAPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
PublicCryptoKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | MLDSAPublicKey
PrivateCryptoKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | MLDSAPrivateKey


class _Verify(Protocol):
    def __call__(self, key: object, signature: bytes, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    name: str  # the value of ``alg``
    kty: str  # the type of key (RFC 7518 section 6.1, RFC 9964 section 3)
    crv: str | None  # the curve, if the type has several; for AKP the parameter set
    verify: _Verify  # raises InvalidSignature of cryptography
    sign: Callable[[object, bytes], bytes]


def _rsa(name: str, pad: padding.AsymmetricPadding, digest: hashes.HashAlgorithm) -> Algorithm:
    def verify(key: object, signature: bytes, data: bytes) -> None:
        assert isinstance(key, rsa.RSAPublicKey)  # noqa: S101 - keys reach here by their type only
        key.verify(signature, data, pad, digest)

    def sign(key: object, data: bytes) -> bytes:
        assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101
        return key.sign(data, pad, digest)

    return Algorithm(name, "RSA", None, verify, sign)


def _ecdsa(name: str, crv: str, size: int, digest: hashes.HashAlgorithm) -> Algorithm:
    scheme = ec.ECDSA(digest)

    def verify(key: object, signature: bytes, data: bytes) -> None:
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101
        # RFC 7518 section 3.4: r and s one after the other, each as long as the field. DER has another length.
        if len(signature) != 2 * size:
            raise ValueError("length")
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), data, scheme)

    def sign(key: object, data: bytes) -> bytes:
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101
        r, s = decode_dss_signature(key.sign(data, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return Algorithm(name, "EC", crv, verify, sign)


_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def canonical(name: str, signature: bytes) -> bytes:
    """Return the canonical form of a signature, the same for all forms that can be derived without the key.

    Attack: if (r, s) is a valid ECDSA signature, so is (r, n - s). From one signed text an attacker gets a second one,
    with another digest.
    """
    curve = _CURVES.get(name)
    if curve is None:
        return signature
    size = len(signature) // 2
    s = int.from_bytes(signature[size:], "big")
    return signature[:size] + min(s, curve.group_order - s).to_bytes(size, "big")


def _ed25519(name: str) -> Algorithm:
    def verify(key: object, signature: bytes, data: bytes) -> None:
        assert isinstance(key, ed25519.Ed25519PublicKey)  # noqa: S101
        key.verify(signature, data)

    def sign(key: object, data: bytes) -> bytes:
        assert isinstance(key, ed25519.Ed25519PrivateKey)  # noqa: S101
        return key.sign(data)

    return Algorithm(name, "OKP", "Ed25519", verify, sign)


def _mldsa(name: str, public: type[MLDSAPublicKey], private: type[MLDSAPrivateKey]) -> Algorithm:
    def verify(key: object, signature: bytes, data: bytes) -> None:
        assert isinstance(key, public)  # noqa: S101 - a key of one parameter set never meets the name of another
        key.verify(signature, data)  # RFC 9964 section 5: the context is empty

    def sign(key: object, data: bytes) -> bytes:
        assert isinstance(key, private)  # noqa: S101
        return key.sign(data)

    return Algorithm(name, "AKP", name, verify, sign)


def _ml_dsa() -> tuple[Algorithm, ...]:
    try:
        mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:  # a cryptography that was built against an OpenSSL before 3.5
        return ()
    return (
        _mldsa("ML-DSA-44", mldsa.MLDSA44PublicKey, mldsa.MLDSA44PrivateKey),
        _mldsa("ML-DSA-65", mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey),
        _mldsa("ML-DSA-87", mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey),
    )


def _hmac(name: str, digest: hashes.HashAlgorithm) -> Algorithm:
    def _mac(key: object, data: bytes) -> hmac.HMAC:
        assert isinstance(key, bytes)  # noqa: S101
        mac = hmac.HMAC(key, digest)
        mac.update(data)
        return mac

    def verify(key: object, signature: bytes, data: bytes) -> None:
        _mac(key, data).verify(signature)  # in constant time

    def sign(key: object, data: bytes) -> bytes:
        return _mac(key, data).finalize()

    return Algorithm(name, "oct", None, verify, sign)


def _pss(digest: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)


_S256, _S384, _S512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
_PKCS1 = padding.PKCS1v15()

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        _ecdsa("ES256", "P-256", 32, _S256),
        _ecdsa("ES384", "P-384", 48, _S384),
        _ecdsa("ES512", "P-521", 66, _S512),
        _ed25519("Ed25519"),
        # The older name (RFC 9864 section 2.2): many libraries know only this one.
        _ed25519("EdDSA"),
        _rsa("RS256", _PKCS1, _S256),
        _rsa("RS384", _PKCS1, _S384),
        _rsa("RS512", _PKCS1, _S512),
        _rsa("PS256", _pss(_S256), _S256),
        _rsa("PS384", _pss(_S384), _S384),
        _rsa("PS512", _pss(_S512), _S512),
        *_ml_dsa(),
        _hmac("HS256", _S256),
        _hmac("HS384", _S384),
        _hmac("HS512", _S512),
    )
}

ASYMMETRIC = tuple(name for name, algorithm in ALGORITHMS.items() if algorithm.kty != "oct")
SYMMETRIC = tuple(name for name, algorithm in ALGORITHMS.items() if algorithm.kty == "oct")


def fitting(kty: str, crv: str | None, alg: str | None) -> frozenset[str]:
    """Return the algorithms for a key: the one that it is bound to, or all of its type (RFC 8725 section 3.1)."""
    if alg is not None:
        # RFC 9864: for an Ed25519 key the two names mean the same.
        return frozenset({"Ed25519", "EdDSA"}) if crv == "Ed25519" else frozenset({alg})
    return frozenset(a.name for a in ALGORITHMS.values() if a.kty == kty and a.crv in (None, crv))
