"""Read, verify and sign compact JWSs (RFC 7515, RFC 8725).

Unverified is a JWS as it came; Verified is one with a valid signature. Only this module makes them.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from functools import lru_cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from affiant.errors import LocalError, Rejected, SignerError
from affiant.errors.reasons import Reason
from affiant.jose import algorithms, base64url, signature_form, strict_json
from affiant.jose.signer import AnySigner, Signer
from affiant.system.values import Value

if TYPE_CHECKING:  # `affiant inspect` reads a JWT without cryptography
    from affiant.jose.keys import VerificationKey

MAX_CHARACTERS = 8192
_CHARACTERS = (string.ascii_letters + string.digits + "_.-").encode()
_PARTS, _JWE_PARTS = 3, 5
_MAX_KID = 256
_MAX_REMEMBERED = 4096  # characters of a header


class Unverified(Value, frozen=True):
    """A parsed JWS. Its header and claims are those of any sender."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"signing_input", "signature"})

    header: dict[str, Any]
    claims: dict[str, Any]
    alg: str
    kid: str | None
    signing_input: bytes
    signature: bytes


class Verified(Value, frozen=True):
    """A JWS with a valid signature by `key`. Its claims are not checked yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: VerificationKey


def parse(text: str, *, limit: int = MAX_CHARACTERS) -> Unverified:
    """Parse a compact JWS strictly, or raise a reason of step 3.

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


def verify(unverified: Unverified, key: VerificationKey) -> Verified:
    """Raise KEY_ALGORITHM or SIGNATURE."""
    key.verify(unverified.alg, unverified.signing_input, unverified.signature)
    return Verified(unverified.header, unverified.claims, key)


def verify_any(unverified: Unverified, keys: Iterable[VerificationKey]) -> Verified:
    """Verify with the first of these keys that made the signature; raise the refusal of the last one."""
    refusal = None
    for key in keys:
        try:
            return verify(unverified, key)
        except Rejected as error:
            refusal = error
    raise refusal or Rejected(Reason.SIGNATURE)


def canonical(verified: Verified, whole: bytes) -> bytes:
    """Return the JWS with its signature in canonical form (see algorithms.py)."""
    signed, _, signature = whole.rpartition(b".")
    found = algorithms.canonical(str(verified.header["alg"]), base64url.decode(signature.decode("ascii")))
    return signed + b"." + base64url.encode(found).encode("ascii")


def sign(header: dict[str, Any], claims: dict[str, Any], signer: Signer) -> str:
    """Return the compact JWS of these claims. LocalError: the signer returned a wrong form of signature."""
    signing_input = f"{_header(header, signer.alg, signer.kid)}.{base64url.encode(msgspec.json.encode(claims))}"
    signature = signer.sign(signing_input.encode("ascii"))
    _check_form(signer.alg, signature)
    return f"{signing_input}.{base64url.encode(signature)}"


async def sign_with(typ: str, claims: dict[str, Any] | Value, signer: AnySigner) -> str:
    """Return the compact JWS, signed by a key of this process or of a device or service."""
    payload = base64url.encode(msgspec.json.encode(claims))
    signing_input = f"{_typed_header(typ, signer.alg, signer.kid)}.{payload}"
    signature = signer.sign(signing_input.encode("ascii"))
    if not isinstance(signature, bytes):
        signature = await signature
        fault = signature_form.find_fault(signer.alg, signature)
        if fault is not None:
            raise SignerError(f"the signer of the key {signer.kid} {fault}")
    return f"{signing_input}.{base64url.encode(signature)}"


def _check_form(alg: str, signature: object) -> None:
    # A server answers all bad signatures alike, so only the client can explain this mistake.
    fault = signature_form.find_fault(alg, signature)
    if isawaitable(signature) and hasattr(signature, "close"):
        signature.close()  # or Python would warn about the coroutine
    if fault is not None:
        raise LocalError(f"sign() of the signer {fault}")


def _header(members: dict[str, Any], alg: str, kid: str | None) -> str:
    named = {**members, "alg": alg, **({"kid": kid} if kid is not None else {})}
    return base64url.encode(msgspec.json.encode(named))


@lru_cache(maxsize=64)
def _typed_header(typ: str, alg: str, kid: str | None) -> str:
    return _header({"typ": typ}, alg, kid)


def _split(text: str, limit: int) -> list[str]:
    if len(text) > limit:  # Attack: a long text is expensive to decode
        raise Rejected(Reason.JWT_TOO_LONG, expected=f"at most {limit} characters", got=str(len(text)))
    if not text.isascii() or text.encode("ascii").translate(None, _CHARACTERS):  # faster than a regular expression
        raise Rejected(Reason.JWT_CHARACTERS)
    parts = text.split(".")
    if len(parts) == _JWE_PARTS:
        raise Rejected(Reason.JWT_ENCRYPTED)
    if len(parts) != _PARTS:
        raise Rejected(Reason.JWT_PARTS, expected="3", got=str(len(parts)))
    return parts


def _read_header(part: str) -> tuple[dict[str, Any], str, str | None]:
    # Attack: large headers fill the cache. One with certificates (x5c) is parsed every time.
    return _parse_header(part) if len(part) <= _MAX_REMEMBERED else _parse_header.__wrapped__(part)


# A client's header is the same in every request. Callers must not change the result. Attack: the cache is filled. It
# has at most 1,024 headers of 4 KiB.
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
        return base64url.decode_letters(part)  # _split has checked every character
    except ValueError as error:
        raise Rejected(Reason.JWT_BASE64URL, detail=str(error)) from None
