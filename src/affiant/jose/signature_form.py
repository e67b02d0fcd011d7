"""Recognise the wrong form of a signature: DER, hexadecimal or base64 (RFC 7518 section 3).

Keys in devices and services often sign in DER: `der_to_raw` converts it.
"""

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


def der_to_raw(alg: str, signature: bytes) -> bytes:
    """Return an ECDSA signature as a JWS has it, r and s side by side (RFC 7518 section 3.4).

    Args:
        alg: ES256, ES384 or ES512.
        signature: in DER (RFC 3279 section 2.2.3), as most devices and services return it.

    Raises:
        ValueError: it is not DER, or not a signature by a key of this algorithm's curve.
    """
    size = EC_BYTES.get(alg)
    if size is None:
        raise ValueError(f"{alg} signatures have no DER form: only those of {', '.join(EC_BYTES)} have")
    numbers = decode_dss_signature(signature)
    if not all(0 < number < 1 << (8 * size) for number in numbers):
        raise ValueError(f"r and s of {alg} have {size} bytes each: the key is of another curve")
    return b"".join(number.to_bytes(size, "big") for number in numbers)


def find_raw(alg: str, signature: bytes) -> bytes:
    """Return an ECDSA signature in DER as `der_to_raw` does, and any other as it is."""
    with suppress(ValueError):
        return der_to_raw(alg, signature)
    return signature


def find_fault(alg: str, signature: object, *, rsa_bytes: int | None = None) -> str | None:
    """Return what is wrong with the type or length of a signature, without its subject, or None.

    `rsa_bytes` is the length of the key's modulus, if it is known.
    """
    if not isinstance(signature, bytes):
        return f"returned {type(signature).__name__}, not bytes"
    form = find(alg, signature)
    if form == DER:
        return (
            f"returned DER; a JWS wants r and s side by side (RFC 7518 section 3.4), {expected(alg)} for {alg}:"
            " convert it with affiant.jose.signature_form.der_to_raw"
        )
    if rsa_bytes is not None and alg in _RSA and len(signature) != rsa_bytes:
        return f"returned {len(signature)} bytes; a signature by this key has {rsa_bytes} bytes"
    if form is not None or not has_length(alg, signature):
        named = f" of {form}" if form else ""
        return f"returned {len(signature)} bytes{named}; a signature by {alg} has {expected(alg)}"
    return None


def find(alg: str, signature: bytes) -> str | None:
    """Return DER, HEXADECIMAL or BASE64 if the signature has that form, else None.

    Without a key: neither the result nor the time reveals anything about the client.
    """
    if alg not in _RSA and has_length(alg, signature):
        return None
    if alg in EC_BYTES:
        with suppress(ValueError):
            der_to_raw(alg, signature)
            return DER
    if _HEXADECIMAL.fullmatch(signature) and has_length(alg, signature[::2]):
        return HEXADECIMAL
    if _BASE64.fullmatch(signature):
        with suppress(ValueError):
            if has_length(alg, urlsafe_b64decode(signature + b"==")):  # it accepts both alphabets
                return BASE64
    return None
