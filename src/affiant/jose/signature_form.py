"""Recognise the wrong form of a signature: DER, hexadecimal or base64 (RFC 7518 section 3)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

DER, HEXADECIMAL, BASE64 = "der", "hexadecimal", "base64"
EC_BYTES = {"ES256": 32, "ES384": 48, "ES512": 66}  # of r, and of s
_BYTES = {
    **{alg: 2 * size for alg, size in EC_BYTES.items()},
    "EdDSA": 64,
    "Ed25519": 64,
    "HS256": 32,
    "HS384": 48,
    "HS512": 64,
    "ML-DSA-44": 2420,
    "ML-DSA-65": 3309,
    "ML-DSA-87": 4627,
}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_RSA_BYTES = range(256, 1025)  # keys of 2048 to 8192 bits
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_HEXADECIMAL = re.compile(rb"(?:[0-9a-fA-F]{2})+")


def has_length(alg: str, signature: bytes) -> bool:
    """Whether signatures of this algorithm can have this length; True for an unknown algorithm."""
    if alg in _RSA:
        return len(signature) in _RSA_BYTES
    return len(signature) == _BYTES.get(alg, len(signature))


def expected(alg: str) -> str:
    """Return in words the length of signatures of this algorithm."""
    return "256 to 1024 bytes" if alg in _RSA else f"{_BYTES[alg]} bytes"


def find(alg: str, signature: bytes) -> str | None:
    """Return DER, HEXADECIMAL or BASE64 if the signature has that form, else None.

    Without a key: neither the result nor the time reveals anything about the client.
    """
    if alg not in _RSA and has_length(alg, signature):
        return None
    if alg in EC_BYTES:
        with suppress(ValueError):
            if all(0 < number < 1 << (8 * EC_BYTES[alg]) for number in decode_dss_signature(signature)):
                return DER
    if _HEXADECIMAL.fullmatch(signature) and has_length(alg, signature[::2]):
        return HEXADECIMAL
    if _BASE64.fullmatch(signature):
        with suppress(ValueError):
            if has_length(alg, urlsafe_b64decode(signature + b"==")):  # it accepts both alphabets
                return BASE64
    return None
