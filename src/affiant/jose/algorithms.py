"""The accepted signature algorithms (RFC 7518 section 3, RFC 8037, RFC 9864, RFC 9964).

Attack: a header with HS256 makes a MAC key of a public key. Each algorithm accepts one type of key only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

MLDSAPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
MLDSAPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
PublicCryptoKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | MLDSAPublicKey
ML_DSA: dict[str, tuple[type[MLDSAPublicKey], type[MLDSAPrivateKey]]] = {
    "ML-DSA-44": (mldsa.MLDSA44PublicKey, mldsa.MLDSA44PrivateKey),
    "ML-DSA-65": (mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey),
    "ML-DSA-87": (mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey),
}
PrivateCryptoKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | MLDSAPrivateKey


@dataclass(frozen=True, slots=True)
class Algorithm:
    name: str  # the value of ``alg``
    kty: str  # the type of key (RFC 7518 section 6.1, RFC 9964 section 3)
    crv: str | None  # the curve, if the type has several; for AKP the parameter set
    public: type  # the class of the keys that verify
    private: type  # the class of the keys that sign
    _verify: Callable[[Any, bytes, bytes], None]
    _sign: Callable[[Any, bytes], bytes]

    def verify(self, key: object, signature: bytes, data: bytes) -> None:
        """Raise InvalidSignature of cryptography, or ValueError."""
        assert isinstance(key, self.public)  # noqa: S101 - a key reaches only the algorithms of its type
        self._verify(key, signature, data)

    def sign(self, key: object, data: bytes) -> bytes:
        assert isinstance(key, self.private)  # noqa: S101
        return self._sign(key, data)


def _rsa(name: str, pad: padding.AsymmetricPadding, digest: hashes.HashAlgorithm) -> Algorithm:
    def verify(key: rsa.RSAPublicKey, signature: bytes, data: bytes) -> None:
        key.verify(signature, data, pad, digest)

    def sign(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
        return key.sign(data, pad, digest)

    return Algorithm(name, "RSA", None, rsa.RSAPublicKey, rsa.RSAPrivateKey, verify, sign)


def _ecdsa(name: str, crv: str, size: int, digest: hashes.HashAlgorithm) -> Algorithm:
    scheme = ec.ECDSA(digest)

    def verify(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> None:
        # RFC 7518 section 3.4: r and s one after the other, each as long as the field. DER has another length.
        if len(signature) != 2 * size:
            raise ValueError("length")
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), data, scheme)

    def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return Algorithm(name, "EC", crv, ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey, verify, sign)


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


def _plain(name: str, kty: str, crv: str, public: type, private: type) -> Algorithm:
    """Return an algorithm without parameters, such as Ed25519 and ML-DSA (RFC 9964 section 5: an empty context)."""

    def verify(key: Any, signature: bytes, data: bytes) -> None:
        key.verify(signature, data)

    def sign(key: Any, data: bytes) -> bytes:
        signature: bytes = key.sign(data)
        return signature

    return Algorithm(name, kty, crv, public, private, verify, sign)


def _has_ml_dsa() -> bool:
    try:
        mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:  # cryptography was built with an OpenSSL before 3.5
        return False
    return True


def _hmac(name: str, digest: hashes.HashAlgorithm) -> Algorithm:
    def mac(key: bytes, data: bytes) -> hmac.HMAC:
        made = hmac.HMAC(key, digest)
        made.update(data)
        return made

    def verify(key: bytes, signature: bytes, data: bytes) -> None:
        mac(key, data).verify(signature)  # in constant time

    def sign(key: bytes, data: bytes) -> bytes:
        return mac(key, data).finalize()

    return Algorithm(name, "oct", None, bytes, bytes, verify, sign)


def _pss(digest: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)


_S256, _S384, _S512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
_PKCS1 = padding.PKCS1v15()
_ED25519 = ("OKP", "Ed25519", ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey)

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        _ecdsa("ES256", "P-256", 32, _S256),
        _ecdsa("ES384", "P-384", 48, _S384),
        _ecdsa("ES512", "P-521", 66, _S512),
        _plain("Ed25519", *_ED25519),
        # The older name (RFC 9864 section 2.2): many libraries know only this one.
        _plain("EdDSA", *_ED25519),
        _rsa("RS256", _PKCS1, _S256),
        _rsa("RS384", _PKCS1, _S384),
        _rsa("RS512", _PKCS1, _S512),
        _rsa("PS256", _pss(_S256), _S256),
        _rsa("PS384", _pss(_S384), _S384),
        _rsa("PS512", _pss(_S512), _S512),
        *(_plain(name, "AKP", name, *kinds) for name, kinds in ML_DSA.items() if _has_ml_dsa()),
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
