"""Keys as typed values. They are made when they are registered or loaded, never from the header of a JWS.

jwk.py parses JSON Web Keys and rejects weak ones.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import jwk
from affiant.jose.algorithms import ALGORITHMS, ML_DSA, PrivateCryptoKey, PublicCryptoKey, fitting

_HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
DEFAULT_ALG = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "Ed25519"}
_RSA_BITS = 3072  # NIST SP 800-57 part 1 table 2: 128 bits of strength


def _verify(key: object, alg: str, signature: bytes, data: bytes) -> None:
    try:
        ALGORITHMS[alg].verify(key, signature, data)
    except (InvalidSignature, ValueError):
        raise Rejected(Reason.SIGNATURE) from None


@dataclass(frozen=True, slots=True)
class PublicKey:
    kid: str  # its thumbprint if the JWK has none
    alg: str | None  # the one algorithm that it is bound to
    kty: str
    crv: str | None  # for AKP the parameter set, for RSA None
    key: PublicCryptoKey = field(repr=False)
    thumbprint: str  # RFC 7638, SHA-256
    algorithms: frozenset[str]  # that it may verify
    jwk: dict[str, Any] = field(repr=False, compare=False)

    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Raise KEY_ALGORITHM or SIGNATURE."""
        if alg not in self.algorithms:
            raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(sorted(self.algorithms)), got=alg)
        _verify(self.key, alg, signature, data)

    @property
    def certificate(self) -> bytes | None:
        """The certificate of the key in DER, if its JWK has one: the first of x5c (RFC 7517 section 4.7)."""
        return b64decode(self.jwk["x5c"][0]) if "x5c" in self.jwk else None

    def to_jwk(self) -> dict[str, Any]:
        """Return the public JWK, with kid, and with alg and x5c if the key has them."""
        return dict(self.jwk)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A shared secret for HMAC; also a Signer."""

    secret: bytes = field(repr=False)
    alg: str = "HS256"
    kid: str | None = None

    def __post_init__(self) -> None:
        if self.alg not in _HASH_BYTES:
            raise ConfigError(f"{self.alg} is not an algorithm for a secret: use HS256, HS384 or HS512")
        if len(self.secret) < _HASH_BYTES[self.alg]:
            raise ConfigError(f"the secret for {self.alg} must be at least {_HASH_BYTES[self.alg]} bytes long")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretKey is not pickled: make it where it is used")

    @property
    def thumbprint(self) -> str | None:
        return None

    @property
    def algorithms(self) -> frozenset[str]:
        return frozenset({self.alg})

    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Check a MAC in constant time; raise KEY_ALGORITHM or SIGNATURE."""
        if alg != self.alg:
            raise Rejected(Reason.KEY_ALGORITHM, expected=self.alg, got=alg)
        _verify(self.secret, alg, signature, data)

    def sign(self, data: bytes) -> bytes:
        return ALGORITHMS[self.alg].sign(self.secret, data)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key in this process; a Signer."""

    kid: str
    alg: str
    key: PrivateCryptoKey = field(repr=False)
    jwk: dict[str, Any] = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        return ALGORITHMS[self.alg].sign(self.key, data)

    def public(self) -> PublicKey:
        return parse_public_jwk({name: value for name, value in self.jwk.items() if name not in jwk.PRIVATE_MEMBERS})

    def to_jwk(self) -> dict[str, Any]:
        """Return the JWK with its private members: keep it out of logs."""
        return dict(self.jwk)


VerificationKey = PublicKey | SecretKey


def parse_public_jwk(document: dict[str, Any]) -> PublicKey:
    """Return the public key in this JWK, or raise ConfigError."""
    jwk.check_public(document)
    jwk.check_use(document, "verify")
    material = jwk.parse(document)
    alg = jwk.bound_alg(document, material.kty, material.crv)
    kid = jwk.kid(document) or material.thumbprint
    return PublicKey(
        kid=kid,
        alg=alg,
        kty=material.kty,
        crv=material.crv,
        key=material.public,
        thumbprint=material.thumbprint,
        algorithms=fitting(material.kty, material.crv, alg),
        jwk={
            **material.members,
            "kid": kid,
            **({"alg": alg} if alg else {}),
            **({"x5c": [material.certificate]} if material.certificate else {}),
        },
    )


def parse_private_jwk(document: dict[str, Any], *, alg: str | None = None) -> PrivateKey:
    """Return the private key in this JWK, with this algorithm if the JWK names none."""
    jwk.check_use(document, "sign")
    material = jwk.parse(document)
    if material.private is None:
        raise ConfigError("the key has no private part: it cannot sign")
    bound = jwk.bound_alg(document, material.kty, material.crv)
    wanted = jwk.bound_alg({"alg": alg}, material.kty, material.crv) or bound
    if bound and wanted not in fitting(material.kty, material.crv, bound):
        raise ConfigError(f"the key is for {bound}, not for {alg}")
    named = wanted or DEFAULT_ALG[material.crv or "RSA"]
    kid = jwk.kid(document) or material.thumbprint
    return PrivateKey(kid=kid, alg=named, key=material.private, jwk={**material.members, "kid": kid, "alg": named})


def parse_public_pem(pem: bytes, *, alg: str | None = None) -> PublicKey:
    """Return the public key in this PEM (SubjectPublicKeyInfo)."""
    if b"PRIVATE KEY" in pem:
        raise ConfigError("this is a private key: register only the public part (openssl pkey -in FILE -pubout)")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("this is not a public key in PEM (BEGIN PUBLIC KEY)") from error
    return parse_public_jwk({**jwk.build(key), **({"alg": alg} if alg else {})})


def parse_private_pem(pem: bytes, *, alg: str | None = None, kid: str | None = None) -> PrivateKey:
    """Return the private key in this PEM without a passphrase."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ConfigError("the private key has a passphrase: give one without (openssl pkey -in FILE)") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("this is not a private key in PEM") from error
    return parse_private_jwk({**jwk.build(key), **({"kid": kid} if kid else {})}, alg=alg)


def generate(alg: str) -> PrivateKey:
    """Return a new key for this algorithm; its kid is its thumbprint."""
    algorithm = ALGORITHMS.get(alg)
    if algorithm is None or algorithm.kty == "oct":
        raise ConfigError(f"{alg} is not an algorithm for a key pair")
    if algorithm.kty == "RSA":
        key: object = rsa.generate_private_key(65537, _RSA_BITS)
    elif algorithm.kty == "EC":
        key = ec.generate_private_key(jwk.CURVES[str(algorithm.crv)])
    elif algorithm.kty == "AKP":
        key = ML_DSA[alg][1].generate()
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return parse_private_jwk(jwk.build(key), alg=alg)
