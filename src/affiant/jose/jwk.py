"""Read and write JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037, RFC 9964), and reject weak ones.

Only the members that make up the key are read and kept. The numbers are checked by `cryptography`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from affiant.errors import ConfigError
from affiant.jose import base64url, weak
from affiant.jose.algorithms import ML_DSA, MLDSAPrivateKey, MLDSAPublicKey, PrivateCryptoKey, PublicCryptoKey, fitting

CryptoKey = PublicCryptoKey | PrivateCryptoKey

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
MAX_KID = 256  # characters
CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_CURVE_NAMES = {curve.name: name for name, curve in CURVES.items()}
_RSA_PRIMES = ("p", "q", "dp", "dq", "qi")
# RFC 9964. The private member is the seed of 32 bytes, never the expanded key.
SEED_BYTES = 32
PUBLIC_BYTES = {"ML-DSA-44": 1312, "ML-DSA-65": 1952, "ML-DSA-87": 2592}  # RFC 9964 section 5, FIPS 204 table 2
# RFC 7638 section 3.2, RFC 8037 section 2, RFC 9964 section 6: what a thumbprint is made of, in order.
_THUMBPRINT = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "AKP": ("alg", "kty", "pub"),
}
_BYTES = ("n", "e", "x", "y", "d", "p", "q", "dp", "dq", "qi", "pub", "priv")
SIGNATURES = "sig"  # RFC 7517 section 4.2
# SPIFFE Trust Domain and Bundle section 4.2.2: the use of a key in a bundle is the kind of SVID that it signs.
JWT_SVID = "jwt-svid"
SVID_USES = frozenset({JWT_SVID, "x509-svid", "wit-svid"})
IS_PRIVATE = "the key has private members: register only the public part"
_NOT_ACCEPTED = "keys of this type are not accepted: use EC (P-256, P-384, P-521), Ed25519, RSA or ML-DSA"


@dataclass(frozen=True, slots=True)
class Material:
    """The content of a JWK that passed all checks."""

    kty: str
    crv: str | None  # for AKP the parameter set, for RSA None
    public: PublicCryptoKey
    private: PrivateCryptoKey | None
    members: dict[str, Any]  # kty and the members of its type, encoded again from the key
    thumbprint: str  # RFC 7638, SHA-256
    certificate: str | None = None  # the first of x5c, unchanged


def parse(jwk: dict[str, Any]) -> Material:
    """Return the key in this JWK.

    Raises ConfigError for an unknown type or curve, missing or wrong members, a private part that does not belong to
    the public one, a weak key, and a certificate (x5c) of another key.
    """
    kty = check_kind(jwk)
    for name in _BYTES:
        if name in jwk:
            _check_base64url(name, jwk[name])
    try:
        key = _READERS[kty](jwk)
    except UnsupportedAlgorithm:
        raise ConfigError(f"{jwk['alg']} needs a cryptography that was built with OpenSSL 3.5 or newer") from None
    except (KeyError, ValueError) as error:
        raise ConfigError("the JWK cannot be read: a member is missing or wrong") from error
    private = cast("PrivateCryptoKey", key) if hasattr(key, "private_bytes") else None
    public = private.public_key() if private is not None else cast("PublicCryptoKey", key)
    members = build(key)
    crv = members["alg"] if kty == "AKP" else members.get("crv")
    return Material(kty, crv, public, private, members, thumbprint(members), _certificate(jwk, public))


def _rsa(jwk: dict[str, Any]) -> rsa.RSAPublicKey | rsa.RSAPrivateKey:
    public = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"]))
    weak.check_rsa(public.n, public.e)  # before cryptography computes anything with it
    if "oth" in jwk:
        raise ValueError("more than two primes")
    if "d" not in jwk:
        return public.public_key()
    d = _number(jwk["d"])
    if not any(name in jwk for name in _RSA_PRIMES):
        p, q = rsa.rsa_recover_prime_factors(public.n, d, public.e)
        dp, dq, qi = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    else:  # RFC 7518 section 6.3.2: all of them or none
        p, q, dp, dq, qi = (_number(jwk[name]) for name in _RSA_PRIMES)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key()


def _ec(jwk: dict[str, Any]) -> ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey:
    curve = CURVES[jwk["crv"]]
    size = (curve.key_size + 7) // 8
    for name in ("x", "y"):  # RFC 7518 section 6.2.1.2
        if len(base64url.decode(jwk[name])) != size:
            raise ConfigError(f"{name} must be {size} bytes: the full size of a coordinate on {jwk['crv']}")
    public = ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), curve)
    if "d" not in jwk:
        return public.public_key()
    return ec.EllipticCurvePrivateNumbers(_number(jwk["d"]), public).private_key()


def _ed25519(jwk: dict[str, Any]) -> ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey:
    x = base64url.decode(jwk["x"])
    weak.check_ed25519(x)
    if "d" not in jwk:
        return ed25519.Ed25519PublicKey.from_public_bytes(x)
    private = ed25519.Ed25519PrivateKey.from_private_bytes(base64url.decode(jwk["d"]))
    if private.public_key().public_bytes_raw() != x:
        raise ConfigError("x is not the public part of d")
    return private


def _ml_dsa(jwk: dict[str, Any]) -> MLDSAPublicKey | MLDSAPrivateKey:
    alg = jwk.get("alg")
    if not isinstance(alg, str) or alg not in ML_DSA:
        raise ConfigError(f"a key of type AKP needs alg, one of: {', '.join(ML_DSA)} (RFC 9964)")
    public, private = ML_DSA[alg]
    pub = _bytes_of(jwk, "pub", PUBLIC_BYTES[alg])
    if "priv" not in jwk:
        return public.from_public_bytes(pub)
    key = private.from_seed_bytes(_bytes_of(jwk, "priv", SEED_BYTES))
    if key.public_key().public_bytes_raw() != pub:
        raise ConfigError("pub is not the public part of priv")
    return key


_READERS: dict[str, Callable[[dict[str, Any]], CryptoKey]] = {
    "RSA": _rsa,
    "EC": _ec,
    "OKP": _ed25519,
    "AKP": _ml_dsa,
}


def build(key: object) -> dict[str, Any]:
    """Return the JWK of a key of cryptography: kty and the members of its type, private ones where it is private.

    Raises ConfigError for a type or curve that is not accepted.
    """
    if hasattr(key, "private_bytes"):
        return {**build(cast("PrivateCryptoKey", key).public_key()), **_private_members(key)}
    if isinstance(key, rsa.RSAPublicKey):
        modulus = key.public_numbers()
        return {"kty": "RSA", "n": _text(modulus.n), "e": _text(modulus.e)}
    if isinstance(key, ec.EllipticCurvePublicKey):
        crv = _CURVE_NAMES.get(key.curve.name)
        if crv is None:
            raise ConfigError("the curve must be P-256, P-384 or P-521")
        point, size = key.public_numbers(), (key.key_size + 7) // 8
        return {"kty": "EC", "crv": crv, "x": _text(point.x, size), "y": _text(point.y, size)}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(key.public_bytes_raw())}
    for alg, (public, _) in ML_DSA.items():
        if isinstance(key, public):
            return {"kty": "AKP", "alg": alg, "pub": base64url.encode(key.public_bytes_raw())}
    raise ConfigError(_NOT_ACCEPTED)


def _private_members(key: object) -> dict[str, str]:
    if isinstance(key, rsa.RSAPrivateKey):
        secret = key.private_numbers()
        numbers = (secret.d, secret.p, secret.q, secret.dmp1, secret.dmq1, secret.iqmp)
        return dict(zip(("d", *_RSA_PRIMES), map(_text, numbers), strict=True))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {"d": _text(key.private_numbers().private_value, (key.key_size + 7) // 8)}
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {"d": base64url.encode(key.private_bytes_raw())}
    return {"priv": base64url.encode(cast("MLDSAPrivateKey", key).private_bytes_raw())}


def thumbprint(members: dict[str, Any]) -> str:
    """Return the thumbprint of these members (RFC 7638): SHA-256 in base64url."""
    named = {name: members[name] for name in _THUMBPRINT[members["kty"]]}
    return base64url.encode(sha256(json.dumps(named, separators=(",", ":")).encode()).digest())


def bound_alg(jwk: dict[str, Any], kty: str, crv: str | None) -> str | None:
    """Return the one algorithm that the JWK names (RFC 7517 section 4.4), or None; reject one of another key type."""
    alg = jwk.get("alg")
    if alg is None:
        return None
    if not isinstance(alg, str) or alg not in fitting(kty, crv, None):
        raise ConfigError(f"alg does not fit the key: expected {' or '.join(sorted(fitting(kty, crv, None)))}")
    return alg


def kid(jwk: dict[str, Any]) -> str | None:
    """Return the kid, or None. Reject one that a terminal could not print."""
    name = jwk.get("kid")
    if name is not None and (not isinstance(name, str) or not 1 <= len(name) <= MAX_KID or not name.isprintable()):
        raise ConfigError(f"kid must be a string of 1 to {MAX_KID} printable characters")
    return name


def check_public(jwk: dict[str, Any]) -> None:
    """Reject a key with private members, as every symmetric key has."""
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise ConfigError(IS_PRIVATE)


def check_kind(jwk: dict[str, Any]) -> str:
    """Return the kty if the type and the curve are accepted. The key itself is not parsed."""
    kty = jwk.get("kty")
    if not isinstance(kty, str) or kty not in _READERS:
        raise ConfigError("kty must be RSA, EC, OKP or AKP")
    accepted = {"EC": (*CURVES,), "OKP": ("Ed25519",)}
    if kty in accepted and jwk.get("crv") not in accepted[kty]:
        # RFC 9864: EdDSA on Ed448 has a name of its own, and is not supported.
        raise ConfigError("the curve must be P-256, P-384, P-521 or Ed25519")
    return kty


def check_use(jwk: dict[str, Any], operation: str, *, use: str = SIGNATURES) -> None:
    """Reject a key that is not meant for this operation, ``sign`` or ``verify`` (RFC 7517 sections 4.2 and 4.3).

    In a SPIFFE bundle the use is JWT_SVID, and no key of a bundle is without one.
    """
    found = jwk.get("use", SIGNATURES) if use == SIGNATURES else jwk.get("use")
    if found != use:
        raise ConfigError("the key is not for signatures (use)" if use == SIGNATURES else f"the key is not for {use}")
    operations = jwk.get("key_ops", [operation])
    if not isinstance(operations, list) or operation not in operations:
        raise ConfigError(f"the key is not for this (key_ops lacks {operation})")
    # RFC 7517 section 4.3: no operation twice, and no contradiction to use.
    if operations.count("sign") > 1 or operations.count("verify") > 1:
        raise ConfigError("key_ops names an operation twice")
    if "use" in jwk and any(name not in ("sign", "verify") for name in operations):
        raise ConfigError("use and key_ops disagree")


def _number(text: str) -> int:
    return int.from_bytes(base64url.decode(text), "big")


def _text(number: int, size: int | None = None) -> str:
    return base64url.encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def _bytes_of(jwk: dict[str, Any], name: str, size: int) -> bytes:
    value = base64url.decode(jwk.get(name, ""))
    if len(value) != size:
        raise ConfigError(f"{name} of a key for {jwk['alg']} must be {size} bytes in base64url without padding")
    return value


def _check_base64url(name: str, value: object) -> None:
    try:
        if isinstance(value, str) and base64url.decode(value):
            return
    except ValueError:
        pass
    raise ConfigError(f"{name} must be base64url without padding")


def _certificate(jwk: dict[str, Any], public: PublicCryptoKey) -> str | None:
    # RFC 7517 section 4.7: the first certificate must be of this key. Nothing else in it is used.
    if "x5c" not in jwk:
        return None
    from cryptography import x509  # noqa: PLC0415 - few keys bring one

    try:
        certified = x509.load_der_x509_certificate(b64decode(jwk["x5c"][0], validate=True)).public_key()
    except (ValueError, TypeError, LookupError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ConfigError("x5c does not begin with a certificate") from error
    if _spki(certified) != _spki(public):
        raise ConfigError("the certificate in x5c is of another key")
    return str(jwk["x5c"][0])


def _spki(key: Any) -> bytes:
    return cast("bytes", key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
