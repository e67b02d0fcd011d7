"""Keys as typed values: made once, when they are registered or loaded, never from bytes and a header together.

JSON Web Keys are read and written by joserfc (RFC 7517, 7518 section 6, 8037); what is too weak is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey

from affiant.errors import ConfigError, Rejected
from affiant.jose.algorithms import ALGORITHMS, PrivateCryptoKey, PublicCryptoKey
from affiant.reasons import Reason

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
_HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_DEFAULT_ALG = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "Ed25519"}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})


def _verify(key: object, alg: str, signature: bytes, data: bytes) -> None:
    try:
        ALGORITHMS[alg].verify(key, signature, data)
    except (InvalidSignature, ValueError):
        raise Rejected(Reason.SIGNATURE) from None


def fitting(kty: str, crv: str | None, alg: str | None) -> frozenset[str]:
    """The algorithms for a key of this type: the one it is bound to, or all of its type (RFC 8725 section 3.1)."""
    if alg is not None:
        # RFC 9864: for an Ed25519 key the two names mean the same.
        return frozenset({"Ed25519", "EdDSA"}) if crv == "Ed25519" else frozenset({alg})
    return frozenset(a.name for a in ALGORITHMS.values() if a.kty == kty and a.crv in (None, crv))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: RSA, EC or Ed25519.

    Attributes:
        kid: its name; its thumbprint (RFC 7638) when it came without one.
        alg: the one algorithm it is bound to, or None.
        algorithms: what it may verify.
        thumbprint: RFC 7638, SHA-256.
    """

    kid: str
    alg: str | None
    kty: str
    crv: str | None
    key: PublicCryptoKey = field(repr=False)
    thumbprint: str
    algorithms: frozenset[str]
    jwk: dict[str, Any] = field(repr=False, compare=False)

    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Check a signature.

        Raises:
            Rejected: KEY_ALGORITHM or SIGNATURE.
        """
        if alg not in self.algorithms:
            raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(sorted(self.algorithms)), got=alg)
        _verify(self.key, alg, signature, data)

    def to_jwk(self) -> dict[str, Any]:
        """The public JWK, with kid, and alg where it is bound."""
        return dict(self.jwk)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A shared secret for HMAC; also a Signer.

    Raises:
        ConfigError: shorter than the hash (RFC 7518 section 3.2).
    """

    secret: bytes = field(repr=False)
    alg: str = "HS256"
    kid: str | None = None

    def __post_init__(self) -> None:
        if self.alg not in _HASH_BYTES:
            raise ConfigError(f"{self.alg} is not an algorithm for a secret: use HS256, HS384 or HS512")
        if len(self.secret) < _HASH_BYTES[self.alg]:
            raise ConfigError(f"the secret for {self.alg} must be at least {_HASH_BYTES[self.alg]} bytes long")

    @property
    def thumbprint(self) -> str | None:
        """None: a secret has no thumbprint that could be shown."""
        return None

    @property
    def algorithms(self) -> frozenset[str]:
        """The one algorithm."""
        return frozenset({self.alg})

    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Check a MAC, in constant time.

        Raises:
            Rejected: KEY_ALGORITHM or SIGNATURE.
        """
        if alg != self.alg:
            raise Rejected(Reason.KEY_ALGORITHM, expected=self.alg, got=alg)
        _verify(self.secret, alg, signature, data)

    def sign(self, data: bytes) -> bytes:
        """The MAC."""
        return ALGORITHMS[self.alg].sign(self.secret, data)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key in this process; a Signer."""

    kid: str
    alg: str
    key: PrivateCryptoKey = field(repr=False)
    jwk: dict[str, Any] = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """The signature, as RFC 7518 section 3 lays it out."""
        return ALGORITHMS[self.alg].sign(self.key, data)

    def public(self) -> PublicKey:
        """The public half, with the same kid and alg."""
        return parse_public_jwk({name: value for name, value in self.jwk.items() if name not in _PRIVATE_MEMBERS})

    def to_jwk(self) -> dict[str, Any]:
        """The JWK with its private members: keep it out of logs."""
        return dict(self.jwk)


VerificationKey = PublicKey | SecretKey


def parse_public_jwk(jwk: dict[str, Any]) -> PublicKey:
    """The public key in this JWK.

    Raises:
        ConfigError: not a key that is accepted: private members, unknown type or curve, too weak, wrong use.
    """
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise ConfigError("the key has private members: register only the public part")
    _check_use(jwk, "verify")
    imported = _import(jwk)
    key = cast("PublicCryptoKey", imported.public_key)
    crv = _check_strength(key)
    alg = _bound_alg(jwk, imported.key_type, crv)
    thumbprint = imported.thumbprint()
    kid = _kid(jwk) or thumbprint
    public = {**imported.as_dict(private=False), "kid": kid, **({"alg": alg} if alg else {})}
    return PublicKey(
        kid=kid,
        alg=alg,
        kty=imported.key_type,
        crv=crv,
        key=key,
        thumbprint=thumbprint,
        algorithms=fitting(imported.key_type, crv, alg),
        jwk=public,
    )


def parse_private_jwk(jwk: dict[str, Any], *, alg: str | None = None) -> PrivateKey:
    """The private key in this JWK; `alg` where it names none.

    Raises:
        ConfigError: not a private key that is accepted.
    """
    _check_use(jwk, "sign")
    imported = _import(jwk)
    if isinstance(imported, OctKey) or imported.private_key is None:
        raise ConfigError("the key has no private part: it cannot sign")
    key = cast("PrivateCryptoKey", imported.private_key)
    crv = _check_strength(key.public_key())
    bound = _bound_alg({"alg": alg} if alg else jwk, imported.key_type, crv) or _DEFAULT_ALG[crv or "RSA"]
    kid = _kid(jwk) or imported.thumbprint()
    members = {**imported.as_dict(private=True), "kid": kid, "alg": bound}
    return PrivateKey(kid=kid, alg=bound, key=key, jwk=members)


def parse_public_pem(pem: bytes, *, alg: str | None = None) -> PublicKey:
    """The public key in this PEM (SubjectPublicKeyInfo).

    Raises:
        ConfigError: not such a key.
    """
    if b"PRIVATE KEY" in pem:
        raise ConfigError("this is a private key: register only the public part (openssl pkey -in FILE -pubout)")
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise ConfigError("this is not a public key in PEM (BEGIN PUBLIC KEY)") from error
    return parse_public_jwk(_from_crypto(key, alg=alg))


def parse_private_pem(pem: bytes, *, alg: str | None = None, kid: str | None = None) -> PrivateKey:
    """The private key in this PEM, not encrypted.

    Raises:
        ConfigError: not such a key, or one with a passphrase.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ConfigError("the private key has a passphrase: give one without (openssl pkey -in FILE)") from error
    except ValueError as error:
        raise ConfigError("this is not a private key in PEM") from error
    return parse_private_jwk({**_from_crypto(key), **({"kid": kid} if kid else {})}, alg=alg)


def generate(alg: str) -> PrivateKey:
    """A new key for this algorithm, named by its thumbprint.

    Raises:
        ConfigError: the algorithm takes no key pair.
    """
    algorithm = ALGORITHMS.get(alg)
    if algorithm is None or algorithm.kty == "oct":
        raise ConfigError(f"{alg} is not an algorithm for a key pair")
    if algorithm.kty == "RSA":
        jwk = RSAKey.generate_key(3072, private=True).as_dict(private=True)
    elif algorithm.kty == "EC":
        jwk = ECKey.generate_key(algorithm.crv, private=True).as_dict(private=True)
    else:
        jwk = OKPKey.generate_key("Ed25519", private=True).as_dict(private=True)
    return parse_private_jwk({name: value for name, value in jwk.items() if name != "kid"}, alg=alg)


def _from_crypto(key: object, *, alg: str | None = None) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        maker: Any = RSAKey
    elif isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        maker = ECKey
    elif isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        maker = OKPKey
    else:
        raise ConfigError("keys of this type are not accepted: use EC (P-256, P-384, P-521), Ed25519 or RSA")
    pem = (
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        if hasattr(key, "private_bytes")
        else key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    try:
        members = maker.import_key(pem).as_dict(private=hasattr(key, "private_bytes"))
    except (JoseError, ValueError, KeyError) as error:
        raise ConfigError("keys on this curve are not accepted: use P-256, P-384, P-521 or Ed25519") from error
    members.pop("kid", None)
    return {**members, **({"alg": alg} if alg else {})}


def _import(jwk: dict[str, Any]) -> Any:
    if jwk.get("kty") not in ("RSA", "EC", "OKP"):
        raise ConfigError("kty must be RSA, EC or OKP")
    plain = {name: value for name, value in jwk.items() if name not in ("use", "key_ops", "alg", "kid", "x5c")}
    try:
        return JWKRegistry.import_key(plain)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError("the JWK cannot be read: a member is missing or wrong") from error


def _check_strength(key: object) -> str | None:
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise ConfigError(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this has {key.key_size}")
        if numbers.e < 65537 or numbers.e % 2 == 0:  # noqa: PLR2004 - F4, the least exponent in use
            raise ConfigError("an RSA key must have an odd public exponent of at least 65537")
        return None
    if isinstance(key, ec.EllipticCurvePublicKey):
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name)
        if curve is None:
            raise ConfigError("the curve must be P-256, P-384 or P-521")
        return curve
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    raise ConfigError("the curve must be P-256, P-384, P-521 or Ed25519")


def _bound_alg(jwk: dict[str, Any], kty: str, crv: str | None) -> str | None:
    alg = jwk.get("alg")
    if alg is None:
        return None
    if not isinstance(alg, str) or alg not in fitting(kty, crv, None):
        raise ConfigError(f"alg does not fit the key: expected {' or '.join(sorted(fitting(kty, crv, None)))}")
    return alg


def _kid(jwk: dict[str, Any]) -> str | None:
    kid = jwk.get("kid")
    if kid is not None and (not isinstance(kid, str) or not 1 <= len(kid) <= 256):  # noqa: PLR2004
        raise ConfigError("kid must be a string of 1 to 256 characters")
    return kid


def _check_use(jwk: dict[str, Any], operation: str) -> None:
    # RFC 7517 sections 4.2 and 4.3: a key for encryption must not be used for signatures.
    if jwk.get("use", "sig") != "sig":
        raise ConfigError("the key is not for signatures (use)")
    operations = jwk.get("key_ops", [operation])
    if not isinstance(operations, list) or operation not in operations:
        raise ConfigError(f"the key is not for this (key_ops lacks {operation})")
