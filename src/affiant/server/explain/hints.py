"""Rung 7: which mistake would have made this very signature? Tried out here, never on the path of a request."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from affiant.jose import base64url
from affiant.jose.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affiant.jose.compact import Unverified
    from affiant.jose.keys import PublicKey
    from affiant.server.registry.directory import RegisteredClient

_EC_BYTES = {"ES256": 32, "ES384": 48, "ES512": 66}
_SIGN_WHAT_IS_SENT = 'signing_input = ".".join(token.split(".")[:2]).encode()'


@dataclass(frozen=True, slots=True)
class Hint:
    """What happened, and a line of code that mends it."""

    what: str
    line: str


def find(client: RegisteredClient, unverified: Unverified, text: str, *, now: float) -> Hint | None:
    """The mistake that explains this signature, or None where none of the known ones does."""
    if unverified.alg.startswith("HS"):
        return _of_secret(client, unverified)
    keys = client.keys.usable(now)
    for key in keys:
        if _holds(key, unverified.alg, unverified.signature, unverified.signing_input):
            line = f'header["kid"] = {json.dumps(key.kid)}'
            return Hint(f"the signature fits the key {key.kid}: only the kid is wrong", line)
    for key in keys:
        hint = _of_spelling(key, unverified) or _of_algorithm(key, unverified) or _of_input(key, unverified, text)
        if hint is not None:
            return hint
    return None


def _of_spelling(key: PublicKey, unverified: Unverified) -> Hint | None:
    size = _EC_BYTES.get(unverified.alg)
    with suppress(ValueError, OverflowError):
        if size is not None:
            raw = b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(unverified.signature))
            if _holds(key, unverified.alg, raw, unverified.signing_input):
                line = f'signature = b"".join(n.to_bytes({size}, "big") for n in decode_dss_signature(signature))'
                return Hint("the signature is DER; a JWS has r and s behind each other (RFC 7518 section 3.4)", line)
    with suppress(ValueError):
        if _holds(key, unverified.alg, bytes.fromhex(unverified.signature.decode("ascii")), unverified.signing_input):
            return Hint("the signature was written in hexadecimal", "signature = bytes.fromhex(signature.decode())")
    with suppress(ValueError):
        if _holds(key, unverified.alg, b64decode(unverified.signature, validate=True), unverified.signing_input):
            return Hint("the signature was encoded in base64 twice", "signature = base64.b64decode(signature)")
    return None


def _of_algorithm(key: PublicKey, unverified: Unverified) -> Hint | None:
    for name, algorithm in ALGORITHMS.items():
        is_other = algorithm.kty == key.kty and name != unverified.alg
        if is_other and _holds(key, name, unverified.signature, unverified.signing_input):
            # Where the key is for what it was used for, the header is what is wrong.
            line = f'alg = header["alg"] = "{name}"' if name in key.algorithms else f'alg = "{unverified.alg}"'
            return Hint(f"the signature is {name}'s, and the header says {unverified.alg}", line)
    return None


def _of_input(key: PublicKey, unverified: Unverified, text: str) -> Hint | None:
    for what, data in _inputs(unverified, text):
        if _holds(key, unverified.alg, unverified.signature, data):
            return Hint(f"{what} was signed, and not the text that was sent", _SIGN_WHAT_IS_SENT)
    return None


def _inputs(unverified: Unverified, text: str) -> Iterator[tuple[str, bytes]]:
    """What people sign instead of the first two parts."""
    head, payload = text.split(".")[:2]
    raw_head, raw_payload = base64url.decode(head), base64url.decode(payload)
    yield "a hash of the text", sha256(unverified.signing_input).digest()
    yield "a hash of the text in hexadecimal", sha256(unverified.signing_input).hexdigest().encode()
    yield "the payload alone", payload.encode()
    yield "the payload before its encoding", raw_payload
    yield "header and payload before their encoding", raw_head + b"." + raw_payload
    for what, encode in (("base64url with padding", urlsafe_b64encode), ("base64", b64encode)):
        yield f"{what}", encode(raw_head) + b"." + encode(raw_payload)
    for what, spelled_head in _spellings(unverified.header):
        for _, spelled in _spellings(unverified.claims):
            yield (
                f"JSON written anew ({what})",
                f"{base64url.encode(spelled_head)}.{base64url.encode(spelled)}".encode(),
            )
        yield "JSON written anew (header)", f"{base64url.encode(spelled_head)}.{payload}".encode()
    for what, spelled in _spellings(unverified.claims):
        yield f"JSON written anew ({what})", f"{head}.{base64url.encode(spelled)}".encode()


def _spellings(value: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for sort in (False, True):
        order = "sorted" if sort else "as it stands"
        yield f"{order}, with spaces", json.dumps(value, sort_keys=sort).encode()
        yield f"{order}, without spaces", json.dumps(value, sort_keys=sort, separators=(",", ":")).encode()
        yield f"{order}, indented", json.dumps(value, sort_keys=sort, indent=2).encode()


def _of_secret(client: RegisteredClient, unverified: Unverified) -> Hint | None:
    for stored, _ in client.macs:
        for what, line, key in _secrets(stored.secret):
            if _holds_mac(key, unverified.alg, unverified):
                return Hint(what, line)
        for name in ("HS256", "HS384", "HS512"):
            if _holds_mac(stored.secret, name, unverified):
                return Hint(f"the MAC is {name}'s, and the header says {unverified.alg}", f'alg = "{unverified.alg}"')
    return None


def _secrets(secret: bytes) -> Iterator[tuple[str, str, bytes]]:
    """What people make of a secret before they use it. Its text is the key, as it stands (RFC 7518 section 3.2)."""
    plain = "key = secret.encode()"
    for tail in (b"\n", b"\r\n", b" ", b"\n\n"):
        yield "the secret was used with white space at its end", "secret = secret.strip()", secret + tail
    yield "the secret was used in quotation marks", "secret = secret.strip('\"')", b'"' + secret + b'"'
    yield "the secret was written in hexadecimal before it was used", plain, secret.hex().encode()
    yield "the secret was encoded in base64 before it was used", plain, b64encode(secret)
    yield "the secret was encoded in base64url before it was used", plain, urlsafe_b64encode(secret).rstrip(b"=")
    yield "a hash of the secret was used", plain, sha256(secret).digest()
    yield "a hash of the secret was used", plain, sha256(secret).hexdigest().encode()
    with suppress(ValueError):
        padded = secret + b"=" * (-len(secret) % 4)
        yield "the secret was decoded from base64url, and its text is the key", plain, urlsafe_b64decode(padded)
    with suppress(ValueError):
        yield "the secret was decoded from hexadecimal, and its text is the key", plain, bytes.fromhex(secret.decode())


def _holds(key: PublicKey, alg: str, signature: bytes, data: bytes) -> bool:
    algorithm = ALGORITHMS.get(alg)
    if algorithm is None or algorithm.kty != key.kty or algorithm.crv not in (None, key.crv):
        return False
    try:
        algorithm.verify(key.key, signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _holds_mac(secret: bytes, alg: str, unverified: Unverified) -> bool:
    algorithm = ALGORITHMS.get(alg)
    if algorithm is None or algorithm.kty != "oct" or not secret:
        return False
    try:
        algorithm.verify(secret, unverified.signature, unverified.signing_input)
    except (InvalidSignature, ValueError):
        return False
    return True
