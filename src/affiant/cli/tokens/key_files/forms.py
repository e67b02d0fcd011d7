"""The forms that a key is written in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from affiant.cli.tokens.key_files.material import Material
from affiant.errors import ConfigError
from affiant.jose.algorithms import PublicCryptoKey
from affiant.jose.keys import PrivateKey, PublicKey

PRIVATE = ("pem", "jwk", "jwks", "pkcs12")
PUBLIC = ("public-pem", "public-jwk", "public-jwks")
SETS = ("jwks", "public-jwks")
ENCRYPTED = ("pem", "pkcs12")  # what a password can protect


def build(found: Sequence[Material], form: str, password: bytes | None) -> bytes:
    """Return the content of the new file; of one key, if the form is no set."""
    if form in PUBLIC:
        return _public([one.public for one in found], form)
    private = [one.private for one in found if one.private is not None]
    if len(private) < len(found):
        raise ConfigError("the file has no private key: choose one of the public forms")
    return _private(private, form, password)


def public_pem(key: PublicKey) -> str:
    """Return SubjectPublicKeyInfo in PEM."""
    made: PublicCryptoKey = key.key
    return made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def _public(found: Sequence[PublicKey], form: str) -> bytes:
    if form == "public-jwks":
        return _json({"keys": [key.to_jwk() for key in found]})
    (key,) = found
    return public_pem(key).encode() if form == "public-pem" else _json(key.to_jwk())


def _private(found: Sequence[PrivateKey], form: str, password: bytes | None) -> bytes:
    if form == "jwks":
        return _json({"keys": [key.to_jwk() for key in found]})
    (key,) = found
    if form == "jwk":
        return _json(key.to_jwk())
    bare = NoEncryption() if password is None else BestAvailableEncryption(password)
    return _pem(key, bare) if form == "pem" else _pkcs12(key, bare)


def _pem(key: PrivateKey, encryption: KeySerializationEncryption) -> bytes:
    return key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _pkcs12(key: PrivateKey, encryption: KeySerializationEncryption) -> bytes:
    try:
        return pkcs12.serialize_key_and_certificates(key.kid.encode(), key.key, None, None, encryption)  # type: ignore[arg-type] # it rejects ML-DSA
    except TypeError:
        raise ConfigError(f"PKCS #12 files have no keys for {key.alg}: choose pem") from None


def _json(members: object) -> bytes:
    return json.dumps(members, indent=2).encode() + b"\n"
