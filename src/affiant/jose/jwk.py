"""JSON Web Keys read and written (RFC 7517, RFC 7518 section 6, RFC 8037, RFC 9964), and what is too weak refused.

joserfc knows RSA, EC and OKP, akp.py knows AKP. Members that say nothing about the key are not kept.
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from affiant.errors import ConfigError
from affiant.jose import akp, base64url, weak
from affiant.jose.algorithms import PrivateCryptoKey, PublicCryptoKey, fitting

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
MAX_KID = 256  # characters
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_CURVES_OF = {"EC": (*CURVES.values(),), "OKP": ("Ed25519",)}
_COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66}  # RFC 7518 section 6.2.1.2

_MAKERS: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
# RFC 7638 section 3.2, RFC 8037 section 2, RFC 9964 section 6: what a thumbprint is made of, in order.
_THUMBPRINT = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_THUMBPRINT["AKP"] = ("alg", "kty", "pub")
_BYTES = ("n", "e", "x", "y", "d", "p", "q", "dp", "dq", "qi", "pub", "priv")
IS_PRIVATE = "the key has private members: register only the public part"
_NOT_ACCEPTED = "keys of this type are not accepted: use EC (P-256, P-384, P-521), Ed25519, RSA or ML-DSA"


@dataclass(frozen=True, slots=True)
class Material:
    """What a JWK holds once it was checked.

    Attributes:
        kty: RSA, EC, OKP or AKP.
        crv: the curve; for AKP the parameter set; None for RSA.
        public: the public key.
        private: the private key, where the JWK has one.
        members: kty and the members of its type, spelt anew from the key; private ones among them where it is private.
        thumbprint: RFC 7638, SHA-256.
        certificate: the first one of x5c, as it stands there; None where there is none.
    """

    kty: str
    crv: str | None
    public: PublicCryptoKey
    private: PrivateCryptoKey | None
    members: dict[str, Any]
    thumbprint: str
    certificate: str | None = None


def parse(jwk: dict[str, Any]) -> Material:
    """The key in this JWK."""
    kty = check_kind(jwk)
    for name in _BYTES:
        if name in jwk:
            _check_base64url(name, jwk[name])
    key = akp.parse(jwk) if kty == "AKP" else _import(kty, jwk)
    private = cast("PrivateCryptoKey", key) if hasattr(key, "private_bytes") else None
    public = private.public_key() if private is not None else cast("PublicCryptoKey", key)
    members = build(key)
    # cryptography compares the two parts of an RSA or EC key itself.
    if private is not None and kty == "OKP" and members["x"] != jwk["x"]:
        raise ConfigError("x is not the public part of d")
    crv = members["alg"] if kty == "AKP" else members.get("crv")
    return Material(kty, crv, public, private, members, thumbprint(members), _certificate(jwk, public))


def build(key: object) -> dict[str, Any]:
    """Return the JWK of a key of cryptography, with the private members of a private one."""
    if (members := akp.build(key)) is not None:
        return members
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        maker: Any = RSAKey
    elif isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        if key.curve.name not in CURVES:
            raise ConfigError("the curve must be P-256, P-384 or P-521")
        maker = ECKey
    elif isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        maker = OKPKey
    else:
        raise ConfigError(_NOT_ACCEPTED)
    return dict(maker.import_key(key).as_dict(private=hasattr(key, "private_bytes")))


def thumbprint(members: dict[str, Any]) -> str:
    """The thumbprint of these members (RFC 7638), SHA-256 in base64url."""
    named = {name: members[name] for name in _THUMBPRINT[members["kty"]]}
    return base64url.encode(sha256(json.dumps(named, separators=(",", ":")).encode()).digest())


def bound_alg(jwk: dict[str, Any], kty: str, crv: str | None) -> str | None:
    """The one algorithm that the JWK names (RFC 7517 section 4.4), or None."""
    alg = jwk.get("alg")
    if alg is None:
        return None
    if not isinstance(alg, str) or alg not in fitting(kty, crv, None):
        raise ConfigError(f"alg does not fit the key: expected {' or '.join(sorted(fitting(kty, crv, None)))}")
    return alg


def kid(jwk: dict[str, Any]) -> str | None:
    """The name that the JWK gives its key, or None."""
    name = jwk.get("kid")
    if name is not None and (not isinstance(name, str) or not 1 <= len(name) <= MAX_KID or not name.isprintable()):
        raise ConfigError(f"kid must be a string of 1 to {MAX_KID} printable characters")
    return name


def check_public(jwk: dict[str, Any]) -> None:
    """Reject a key with private members."""
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise ConfigError(IS_PRIVATE)


def check_kind(jwk: dict[str, Any]) -> str:
    """Return the kty if the type and the curve are accepted. The key itself is not parsed."""
    kty = jwk.get("kty")
    if kty not in ("RSA", "EC", "OKP", "AKP"):
        raise ConfigError("kty must be RSA, EC, OKP or AKP")
    if kty in ("EC", "OKP") and jwk.get("crv") not in _CURVES_OF[kty]:
        # RFC 9864: EdDSA on Ed448 has a name of its own, and is not supported.
        raise ConfigError("the curve must be P-256, P-384, P-521 or Ed25519")
    return str(kty)


def check_use(jwk: dict[str, Any], operation: str) -> None:
    """Let a key pass that is meant for this operation, ``sign`` or ``verify`` (RFC 7517 sections 4.2 and 4.3)."""
    if jwk.get("use", "sig") != "sig":
        raise ConfigError("the key is not for signatures (use)")
    operations = jwk.get("key_ops", [operation])
    if not isinstance(operations, list) or operation not in operations:
        raise ConfigError(f"the key is not for this (key_ops lacks {operation})")
    # RFC 7517 section 4.3: no operation twice, and with use they must tell the same.
    if operations.count("sign") > 1 or operations.count("verify") > 1:
        raise ConfigError("key_ops names an operation twice")
    if "use" in jwk and any(name not in ("sign", "verify") for name in operations):
        raise ConfigError("use and key_ops disagree")


def _import(kty: str, jwk: dict[str, Any]) -> object:
    plain = {"kty": kty, **{name: jwk[name] for name in ("crv", "oth", *_BYTES) if name in jwk}}
    if kty == "RSA" and {"n", "e"} <= plain.keys():  # before cryptography or joserfc does anything with it
        weak.check_rsa(_number(plain["n"]), _number(plain["e"]))
    if kty == "EC":
        _check_coordinates(plain)
    try:
        imported = _MAKERS[kty].import_key(plain)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ConfigError("the JWK cannot be read: a member is missing or wrong") from error
    if kty == "OKP":
        weak.check_ed25519(imported.public_key.public_bytes_raw())
    return imported.private_key or imported.public_key


def _check_coordinates(jwk: dict[str, Any]) -> None:
    size = _COORDINATE_BYTES.get(jwk["crv"])
    for name in ("x", "y"):
        if size is not None and name in jwk and len(base64url.decode(jwk[name])) != size:
            raise ConfigError(f"{name} must be {size} bytes: the full size of a coordinate on {jwk['crv']}")


def _number(text: str) -> int:
    return int.from_bytes(base64url.decode(text), "big")


def _check_base64url(name: str, value: object) -> None:
    try:
        if isinstance(value, str) and base64url.decode(value):
            return
    except ValueError:
        pass
    raise ConfigError(f"{name} must be base64url without padding")


def _certificate(jwk: dict[str, Any], public: PublicCryptoKey) -> str | None:
    # RFC 7517 section 4.7: the first certificate is of this key. Nothing else in it is believed.
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
