"""Find the known mistake that produces exactly this signature (rung 7). Never on the path of a request.

A hint has a code of the closed list HINTS, which the audit log keeps; its words are made from the code.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from affiant.jose import base64url
from affiant.jose.algorithms import ALGORITHMS
from affiant.jose.compact import Unverified
from affiant.jose.keys import PublicKey, SecretKey
from affiant.jose.spelling import EC_BYTES

MAX_KEYS = 4  # of a client that are tried
KEPT, REPEATED = "jti.kept", "jti.repeated"
_NEW_JTI = 'claims["jti"] = secrets.token_urlsafe(16)'
_SIGN_WHAT_IS_SENT = 'signing_input = ".".join(token.split(".")[:2]).encode()'
_TEXT_IS_KEY = "key = secret.encode()"
_HASH = "a hash of the secret was used"
_INPUT = "{} was signed, and not the text that was sent"


class _Words(NamedTuple):
    what: str
    line: str
    names: int = 0  # how many names the words need


# The words of each code; {0} and {1} are the names that follow the code in a record.
HINTS = {
    "signature.der": _Words(
        "the signature is DER; a JWS has r and s one after the other (RFC 7518 section 3.4). librdkafka up to 2.16"
        " sends DER for {0}: use an RSA key and RS256 there",
        'signature = b"".join(n.to_bytes({size}, "big") for n in decode_dss_signature(signature))',
        1,
    ),
    "signature.hexadecimal": _Words(
        "the signature was written in hexadecimal", "signature = bytes.fromhex(signature.decode())"
    ),
    "signature.base64": _Words(
        "the signature was encoded in base64 twice",
        'signature = base64.urlsafe_b64decode(signature + b"==")',
    ),
    "signature.other_key": _Words("the signature fits the key {0}: only the kid is wrong", 'header["kid"] = {json}', 1),
    "signature.header_algorithm": _Words(
        "the signature is {0}'s, and the header says {1}", 'alg = header["alg"] = "{0}"', 2
    ),
    "signature.algorithm": _Words("the signature is {0}'s, and the header says {1}", 'alg = "{1}"', 2),
    "signature.of_hash": _Words(_INPUT.format("a hash of the text"), _SIGN_WHAT_IS_SENT),
    "signature.of_payload": _Words(_INPUT.format("the payload alone"), _SIGN_WHAT_IS_SENT),
    "signature.of_json": _Words(_INPUT.format("the JSON before its encoding"), _SIGN_WHAT_IS_SENT),
    "signature.of_base64": _Words(_INPUT.format("base64 or padded base64url"), _SIGN_WHAT_IS_SENT),
    "signature.of_other_json": _Words(_INPUT.format("the same JSON, written differently,"), _SIGN_WHAT_IS_SENT),
    "secret.white_space": _Words("the secret was used with white space at its end", "secret = secret.strip()"),
    "secret.quoted": _Words("the secret was used in quotation marks", "secret = secret.strip('\"')"),
    "secret.hexadecimal": _Words("the secret was written in hexadecimal before it was used", _TEXT_IS_KEY),
    "secret.base64": _Words("the secret was encoded in base64 before it was used", _TEXT_IS_KEY),
    "secret.hash": _Words(_HASH, _TEXT_IS_KEY),
    KEPT: _Words("the very assertion was used before", _NEW_JTI),
    REPEATED: _Words("another assertion with this jti was used before", _NEW_JTI),
    "secret.decoded": _Words("the secret was decoded, and its text is the key", _TEXT_IS_KEY),
}


@dataclass(frozen=True, slots=True)
class Hint:
    """A known mistake: its code in HINTS, and the names that its words need (an alg, a kid; never a secret)."""

    code: str
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The form that the audit log keeps."""
        return " ".join((self.code, *self.names))

    @property
    def what(self) -> str:
        """The mistake, in words."""
        return HINTS[self.code].what.format(*self.names)

    @property
    def line(self) -> str:
        """A line of code that fixes it."""
        words = HINTS[self.code]
        if not words.names:
            return words.line
        return words.line.format(*self.names, json=json.dumps(self.names[0]), size=EC_BYTES.get(self.names[0]))


def parse(text: str | None) -> Hint | None:
    """Parse the text of a hint; None for a code that this version does not know."""
    code, _, rest = (text or "").partition(" ")
    if code not in HINTS:
        return None
    names = (rest,) if code == "signature.other_key" else tuple(rest.split())  # a kid may have spaces
    return Hint(code, names) if all(names[: HINTS[code].names]) and len(names) >= HINTS[code].names else None


def find(keys: Sequence[PublicKey], secrets: Iterable[SecretKey], unverified: Unverified, text: str) -> Hint | None:
    """Return the known mistake that explains this signature, or None."""
    if unverified.alg.startswith("HS"):
        return _of_secret(secrets, unverified)
    for key in keys:
        if _holds(key, unverified.alg, unverified.signature, unverified.signing_input):
            return Hint("signature.other_key", (key.kid,))
    for key in keys[:MAX_KEYS]:
        hint = _of_spelling(key, unverified) or _of_algorithm(key, unverified) or _of_input(key, unverified, text)
        if hint is not None:
            return hint
    return None


def _of_spelling(key: PublicKey, unverified: Unverified) -> Hint | None:
    alg = unverified.alg
    size = EC_BYTES.get(alg)
    with suppress(ValueError, OverflowError):
        if size is not None:
            raw = b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(unverified.signature))
            if _holds(key, alg, raw, unverified.signing_input):
                return Hint("signature.der", (alg,))
    with suppress(ValueError):
        if _holds(key, alg, bytes.fromhex(unverified.signature.decode("ascii")), unverified.signing_input):
            return Hint("signature.hexadecimal")
    with suppress(ValueError):
        if _holds(key, alg, urlsafe_b64decode(unverified.signature + b"=="), unverified.signing_input):
            return Hint("signature.base64")
    return None


def _of_algorithm(key: PublicKey, unverified: Unverified) -> Hint | None:
    for name, algorithm in ALGORITHMS.items():
        is_other = algorithm.kty == key.kty and name != unverified.alg
        if is_other and _holds(key, name, unverified.signature, unverified.signing_input):
            # Where the key is for what it was used for, the header is what is wrong.
            return _of_other(name, unverified.alg, is_header=name in key.algorithms)
    return None


def _of_other(name: str, said: str, *, is_header: bool) -> Hint:
    # Attack: the header is the sender's. Only an algorithm's name may get into a line that an operator types.
    if is_header or said not in ALGORITHMS:
        return Hint("signature.header_algorithm", (name, said if said in ALGORITHMS else "another"))
    return Hint("signature.algorithm", (name, said))


def _of_input(key: PublicKey, unverified: Unverified, text: str) -> Hint | None:
    for code, data in _inputs(unverified, text):
        if _holds(key, unverified.alg, unverified.signature, data):
            return Hint(code)
    return None


def _inputs(unverified: Unverified, text: str) -> Iterator[tuple[str, bytes]]:
    """Yield what programs sign instead of the first two parts."""
    head, payload = text.split(".")[:2]
    raw_head, raw_payload = base64url.decode(head), base64url.decode(payload)
    yield "signature.of_hash", sha256(unverified.signing_input).digest()
    yield "signature.of_hash", sha256(unverified.signing_input).hexdigest().encode()
    yield "signature.of_payload", payload.encode()
    yield "signature.of_payload", raw_payload
    yield "signature.of_json", raw_head + b"." + raw_payload
    for encode in (urlsafe_b64encode, b64encode):
        yield "signature.of_base64", encode(raw_head) + b"." + encode(raw_payload)
    for data in _rewritten(unverified, head, payload):
        yield "signature.of_other_json", data


def _rewritten(unverified: Unverified, head: str, payload: str) -> Iterator[bytes]:
    payloads = [base64url.encode(spelled) for spelled in _spellings(unverified.claims)]
    for spelled in map(base64url.encode, _spellings(unverified.header)):
        for other in (*payloads, payload):
            yield f"{spelled}.{other}".encode()
    for other in payloads:
        yield f"{head}.{other}".encode()


def _spellings(value: dict[str, Any]) -> Iterator[bytes]:
    for sort in (False, True):
        yield json.dumps(value, sort_keys=sort).encode()
        yield json.dumps(value, sort_keys=sort, separators=(",", ":")).encode()
        yield json.dumps(value, sort_keys=sort, indent=2).encode()


def _of_secret(secrets: Iterable[SecretKey], unverified: Unverified) -> Hint | None:
    for stored in secrets:
        for code, key in _misused(stored.secret):
            if _holds_mac(key, unverified.alg, unverified):
                return Hint(code)
        for name in ("HS256", "HS384", "HS512"):
            if name != unverified.alg and _holds_mac(stored.secret, name, unverified):
                return _of_other(name, unverified.alg, is_header=name == stored.alg)
    return None


def _misused(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield wrong keys that programs derive from a secret. The right key is its text (RFC 7518 section 3.2)."""
    for tail in (b"\n", b"\r\n", b" ", b"\n\n"):
        yield "secret.white_space", secret + tail
    yield "secret.quoted", b'"' + secret + b'"'
    yield "secret.hexadecimal", secret.hex().encode()
    yield "secret.base64", b64encode(secret)
    yield "secret.base64", urlsafe_b64encode(secret).rstrip(b"=")
    yield "secret.hash", sha256(secret).digest()
    yield "secret.hash", sha256(secret).hexdigest().encode()
    with suppress(ValueError):
        yield "secret.decoded", urlsafe_b64decode(secret + b"=" * (-len(secret) % 4))
    with suppress(ValueError):
        yield "secret.decoded", bytes.fromhex(secret.decode())


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
