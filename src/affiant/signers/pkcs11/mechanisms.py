"""How a PKCS #11 token makes keys for an algorithm, and signs with them: in the form of RFC 7518 section 3."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from hashlib import sha256, sha384, sha512
from typing import Any, NamedTuple

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import DEFAULT, MGF, Attribute, KeyType, Mechanism, MechanismFlag, exceptions

from affiant.errors import ConfigError
from affiant.jose.algorithms import ALGORITHMS, PublicCryptoKey

LABEL = "affiant"  # of every key that is ours
_RSA_BITS = 3072
_CURVES: dict[str, ec.EllipticCurve] = {
    "secp256r1": ec.SECP256R1(),
    "secp384r1": ec.SECP384R1(),
    "secp521r1": ec.SECP521R1(),
}
_EDWARDS = bytes.fromhex("06032b6570")  # the object identifier of Ed25519 (RFC 8410 section 3)
# The errors of a module, such as that of TPMs, for a template with values that the module sets itself.
_TEMPLATE = (
    exceptions.AttributeTypeInvalid,
    exceptions.AttributeValueInvalid,
    exceptions.GeneralError,
    exceptions.TemplateInconsistent,
)


class Way(NamedTuple):
    """How a token makes keys for an algorithm, and signs with them."""

    key_type: KeyType
    make: Mechanism
    sign: Mechanism
    curve: str = ""
    param: Any = None
    digest: Any = None
    prefix: bytes = b""  # of the digest, in what is signed
    instead: Any = None  # for tokens without these mechanisms


def _rsa(sign: Mechanism, param: Any = None, instead: Way | None = None) -> Way:
    return Way(KeyType.RSA, Mechanism.RSA_PKCS_KEY_PAIR_GEN, sign, param=param, instead=instead)


def _pkcs1(sign: Mechanism, digest: Any, prefix: str) -> Way:
    # RFC 8017 section 9.2, note 1: a DigestInfo is signed. Every token has RSA_PKCS, but not every one the hash.
    return _rsa(sign, instead=_rsa(Mechanism.RSA_PKCS)._replace(digest=digest, prefix=bytes.fromhex(prefix)))


def _ecdsa(curve: str, digest: Any) -> Way:
    # Hashed here: every token has plain ECDSA, but not every one the hash. The signature is r and s, concatenated.
    return Way(KeyType.EC, Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA, curve, digest=digest)


_ED25519 = Way(KeyType.EC_EDWARDS, Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA)
WAYS = {
    "ES256": _ecdsa("secp256r1", sha256),
    "ES384": _ecdsa("secp384r1", sha384),
    "ES512": _ecdsa("secp521r1", sha512),
    "RS256": _pkcs1(Mechanism.SHA256_RSA_PKCS, sha256, "3031300d060960864801650304020105000420"),
    "RS384": _pkcs1(Mechanism.SHA384_RSA_PKCS, sha384, "3041300d060960864801650304020205000430"),
    "RS512": _pkcs1(Mechanism.SHA512_RSA_PKCS, sha512, "3051300d060960864801650304020305000440"),
    # RFC 7518 section 3.5: MGF1 with the same hash, and a salt as long as the hash.
    "PS256": _rsa(Mechanism.SHA256_RSA_PKCS_PSS, (Mechanism.SHA256, MGF.SHA256, 32)),
    "PS384": _rsa(Mechanism.SHA384_RSA_PKCS_PSS, (Mechanism.SHA384, MGF.SHA384, 48)),
    "PS512": _rsa(Mechanism.SHA512_RSA_PKCS_PSS, (Mechanism.SHA512, MGF.SHA512, 64)),
    "Ed25519": _ED25519,
    "EdDSA": _ED25519,
}


def check_alg(alg: str) -> None:
    """Raise ConfigError if no PKCS #11 token can sign with this algorithm here."""
    if alg not in WAYS:
        raise ConfigError(f"{alg} keys cannot be in a PKCS #11 token here: choose one of {', '.join(WAYS)}")


def find_way(alg: str, mechanisms: AbstractSet[Any]) -> Way | None:
    """Return how a token with these mechanisms signs with an algorithm; None where it cannot."""
    way: Way | None = WAYS[alg]
    while way is not None and way.sign not in mechanisms:
        way = way.instead
    return way


def _find_maker(alg: str, mechanisms: AbstractSet[Any]) -> Way | None:
    return find_way(alg, mechanisms) if WAYS[alg].make in mechanisms else None


def choose_way(alg: str, mechanisms: AbstractSet[Any], *, token: str) -> Way:
    """Return how the token makes keys for an algorithm, and signs with them."""
    if (way := _find_maker(alg, mechanisms)) is not None:
        return way
    able = ", ".join(other for other in WAYS if _find_maker(other, mechanisms) is not None)
    remedy = (
        f"choose one of {able} (affiant serve --signing-alg, affiant signing-key rotate --alg, affiant api update"
        " --signing-alg)"
        if able
        else "it has no algorithm that affiant signs with"
    )
    raise ConfigError(f"the PKCS #11 token {token} cannot make keys for {alg}: {remedy}")


def generate(session: Any, kid: str, way: Way) -> tuple[Any, Any]:
    """Make a key pair in the token and return its handles, the public one first."""
    try:
        return _generate_as(session, kid, way, {}, {})
    except _TEMPLATE:
        # The TPM module sets these two values itself, always to true, and rejects others: leave them out.
        free = {Attribute.ENCRYPT: DEFAULT}, {Attribute.DECRYPT: DEFAULT}
        return _generate_as(session, kid, way, *free)


def _generate_as(
    session: Any, kid: str, way: Way, public: dict[Attribute, Any], private: dict[Attribute, Any]
) -> tuple[Any, Any]:
    options: dict[str, Any] = {
        "id": kid.encode(),
        "label": LABEL,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "mechanism": way.make,
        "public_template": public,
        "private_template": {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, **private},
    }
    if way.key_type is KeyType.RSA:
        made: tuple[Any, Any] = session.generate_keypair(KeyType.RSA, _RSA_BITS, **options)
        return made
    params = pkcs11.util.ec.encode_named_curve_parameters(way.curve) if way.curve else _EDWARDS
    domain = session.create_domain_parameters(way.key_type, {Attribute.EC_PARAMS: params}, local=True)
    inside: tuple[Any, Any] = domain.generate_keypair(**options)
    return inside


def read_public(handle: Any) -> PublicCryptoKey:
    """Return the public key of a handle that has its values."""
    if handle.key_type is KeyType.RSA:
        exponent, modulus = (int.from_bytes(handle[a], "big") for a in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    if handle.key_type is KeyType.EC_EDWARDS:
        return ed25519.Ed25519PublicKey.from_public_bytes(_point(handle[Attribute.EC_POINT], 32))
    params = bytes(handle[Attribute.EC_PARAMS])
    for name, curve in _CURVES.items():
        if params == pkcs11.util.ec.encode_named_curve_parameters(name):
            point = _point(handle[Attribute.EC_POINT], 2 * ((curve.key_size + 7) // 8) + 1)
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    raise ConfigError("the key in the PKCS #11 token is of a curve that no algorithm of a JWS has")


def fitting(public: PublicCryptoKey) -> tuple[str, ...]:
    """Return the algorithms that a token could sign with under this key."""
    return tuple(alg for alg in WAYS if isinstance(public, ALGORITHMS[alg].public) and _has_curve(public, WAYS[alg]))


def _has_curve(public: PublicCryptoKey, way: Way) -> bool:
    return not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name == way.curve


def _point(value: bytes, size: int) -> bytes:
    """Return the last bytes, the point: some tokens wrap it in an OCTET STRING, as the standard says."""
    if not size <= len(value) <= size + 3:
        raise ConfigError(f"the PKCS #11 token returned a public key of {len(value)} bytes")
    return value[-size:]


def sign(private: Any, way: Way, data: bytes) -> bytes:
    """Return a signature, as RFC 7518 section 3 lays it out."""
    signed: bytes = private.sign(
        way.prefix + way.digest(data).digest() if way.digest else data,
        mechanism=way.sign,
        mechanism_param=way.param,
    )
    return signed
