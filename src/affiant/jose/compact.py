"""The compact JWS, read strictly and checked before it is believed (RFC 7515, RFC 8725).

Unverified is what a stranger sent, taken apart. Verified is the same after its signature held. Nothing but this module
makes either. A JWS whose payload may be anything is an Envelope: the same reader, without the step that reads claims.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from affiant.errors import LocalError, Rejected
from affiant.jose import algorithms, base64url, spelling, strict_json
from affiant.jose.signer import AnySigner, Signer
from affiant.reasons import Reason
from affiant.values import Value

if TYPE_CHECKING:
    from affiant.jose.keys import VerificationKey

MAX_CHARACTERS = 8192
_CHARACTERS = re.compile(r"[A-Za-z0-9_.-]*")
_PARTS, _JWE_PARTS = 3, 5
_MAX_KID = 256
_MAX_REMEMBERED = 4096  # characters of a header


class Unverified(Value, frozen=True):
    """A JWS taken apart. Its header and claims are whatever the sender wrote."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"signing_input", "signature"})

    header: dict[str, Any]
    claims: dict[str, Any]
    alg: str
    kid: str | None
    signing_input: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A JWS taken apart down to the bytes of its payload, which need not be JSON. Nothing of it is proved."""

    header: dict[str, Any]
    payload: bytes
    alg: str
    kid: str | None
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


class Verified(Value, frozen=True):
    """A JWS whose signature held under `key`. Its claims are still to be judged."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: VerificationKey


def parse(text: str, *, limit: int = MAX_CHARACTERS) -> Unverified:
    """Take a compact JWS apart.

    Embedded keys and their addresses (jwk, jku, x5u, x5c) are never looked at.
    """
    parts = _split(text, limit)
    header, alg, kid = _read_header(parts[0])
    return Unverified(
        header=header,
        claims=_parse_json(parts[1]),
        alg=alg,
        kid=kid,
        signing_input=text[: len(parts[0]) + 1 + len(parts[1])].encode("ascii"),
        signature=_decode(parts[2]),
    )


def parse_envelope(text: str, *, limit: int = MAX_CHARACTERS) -> Envelope:
    """Take a compact JWS apart whose payload may be any bytes; in all else as strict as `parse`."""
    parts = _split(text, limit)
    header, alg, kid = _read_header(parts[0])
    return Envelope(
        header=header,
        payload=_decode(parts[1]),
        alg=alg,
        kid=kid,
        signing_input=text[: len(parts[0]) + 1 + len(parts[1])].encode("ascii"),
        signature=_decode(parts[2]),
    )


def verify(unverified: Unverified, key: VerificationKey) -> Verified:
    """Believe who signed it."""
    key.verify(unverified.alg, unverified.signing_input, unverified.signature)
    return Verified(unverified.header, unverified.claims, key)


def verify_any(unverified: Unverified, keys: Iterable[VerificationKey]) -> Verified:
    """Verify with the first of these keys that made the signature; raise the refusal of the last one."""
    refusal = Rejected(Reason.SIGNATURE)
    for key in keys:
        try:
            return verify(unverified, key)
        except Rejected as error:
            refusal = error
    raise refusal


def canonical(verified: Verified, whole: bytes) -> bytes:
    """Return the JWS with its signature in canonical form (see algorithms.py)."""
    signed, _, signature = whole.rpartition(b".")
    found = algorithms.canonical(str(verified.header["alg"]), base64url.decode(signature.decode("ascii")))
    return signed + b"." + base64url.encode(found).encode("ascii")


def sign(header: dict[str, Any], claims: dict[str, Any], signer: Signer) -> str:
    """The compact JWS of these claims; alg and kid are the signer's."""
    signing_input = _signing_input(header, claims, signer)
    signature = signer.sign(signing_input.encode("ascii"))
    _check_form(signer.alg, signature)
    return f"{signing_input}.{base64url.encode(signature)}"


async def sign_with(header: dict[str, Any], claims: dict[str, Any], signer: AnySigner) -> str:
    """The same, by a key that may be elsewhere; nothing is waited for where it is here."""
    signing_input = _signing_input(header, claims, signer)
    signature = signer.sign(signing_input.encode("ascii"))
    return f"{signing_input}.{base64url.encode(signature if isinstance(signature, bytes) else await signature)}"


def _check_form(alg: str, signature: object) -> None:
    # A server has one answer for all bad signatures, so this mistake must be reported here.
    if not isinstance(signature, bytes):
        if isawaitable(signature) and hasattr(signature, "close"):
            signature.close()  # an unawaited coroutine would warn
        raise LocalError(
            f"sign() of the signer returned {type(signature).__name__}, not bytes: a Service takes a signer that"
            " returns the signature at once"
        )
    form = spelling.find(alg, signature)
    if form == spelling.DER:
        raise LocalError(
            f"sign() of the signer returned DER; {alg} needs r and s one after the other, {spelling.expected(alg)}: use"
            " decode_dss_signature of cryptography, and to_bytes"
        )
    if form is not None or not spelling.has_length(alg, signature):
        raise LocalError(
            f"sign() of the signer returned {len(signature)} bytes{f' of {form}' if form else ''}; a signature by {alg}"
            f" has {spelling.expected(alg)}"
        )


def _signing_input(header: dict[str, Any], claims: dict[str, Any], signer: AnySigner) -> str:
    named = {**header, "alg": signer.alg, **({"kid": signer.kid} if signer.kid is not None else {})}
    return f"{_encoded_header(msgspec.json.encode(named))}.{base64url.encode(msgspec.json.encode(claims))}"


def _split(text: str, limit: int) -> list[str]:
    if len(text) > limit:  # before any decoding: its cost must not be the sender's choice
        raise Rejected(Reason.JWT_TOO_LONG, expected=f"at most {limit} characters", got=str(len(text)))
    if _CHARACTERS.fullmatch(text) is None:
        raise Rejected(Reason.JWT_CHARACTERS)
    parts = text.split(".")
    if len(parts) == _JWE_PARTS:
        raise Rejected(Reason.JWT_ENCRYPTED)
    if len(parts) != _PARTS:
        raise Rejected(Reason.JWT_PARTS, expected="3", got=str(len(parts)))
    return parts


def _read_header(part: str) -> tuple[dict[str, Any], str, str | None]:
    # Attack: a stranger fills the cache with large headers. One with certificates (x5c) is read again every time.
    return _parse_header(part) if len(part) <= _MAX_REMEMBERED else _parse_header.__wrapped__(part)


# A client's header is the same bytes in every request, so what was read once is remembered. The result must not be
# changed by anyone; the size bounds what a stranger can make us keep (1,024 headers of at most 4 KiB).
@lru_cache(maxsize=1024)
def _parse_header(part: str) -> tuple[dict[str, Any], str, str | None]:
    header = _parse_json(part)
    if "crit" in header or "b64" in header:
        raise Rejected(Reason.JWT_CRIT)
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or not alg:
        raise Rejected(Reason.JWT_ALG)
    if "kid" in header and not (isinstance(kid, str) and 1 <= len(kid) <= _MAX_KID):
        raise Rejected(Reason.JWT_KID)
    return header, alg, kid


def _parse_json(part: str) -> dict[str, Any]:
    data = _decode(part)
    try:
        return strict_json.parse_object(data)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.JWT_JSON, detail=str(error)[:100]) from None


def _decode(part: str) -> bytes:
    try:
        return base64url.decode_letters(part)  # _split looked at every character
    except ValueError as error:
        raise Rejected(Reason.JWT_BASE64URL, detail=str(error)) from None


@lru_cache(maxsize=64)
def _encoded_header(data: bytes) -> str:
    return base64url.encode(data)
