"""Software statements: metadata that the publisher of a software signed (RFC 7591 section 2.3)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.claims import LEEWAY, instant, media_type, text
from affiant.jose.key_set import KeySet, describe
from affiant.jose.strict_json import parse_object
from affiant.server.registration.metadata import MEMBERS, STATEMENT

log: logging.Logger = logging.getLogger(__name__)

_MAX_ISSUER = 2000


def load(files: Mapping[str, Path]) -> dict[str, KeySet]:
    """Return the keys of each trusted issuer, from the JWK Set in its file."""
    return {issuer: _load(issuer, path) for issuer, path in files.items()}


def apply(members: dict[str, Any], issuers: Mapping[str, KeySet], *, audience: str, now: float) -> dict[str, Any]:
    """Return the members; those of the software statement replace the same ones next to it (section 3.1.1)."""
    statement = members.get(STATEMENT)
    if statement is None:
        return members
    claims = _verify(statement, issuers, audience, now)
    stated = {name: value for name, value in claims.items() if name in MEMBERS and name != STATEMENT}
    return {**members, **stated}


def _load(issuer: str, path: Path) -> KeySet:
    try:
        found = KeySet.parse_given(parse_object(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{path} of {issuer} cannot be read: {error.strerror}") from error
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{path} of {issuer}: {error}") from error
    if found.left_out:
        log.warning("%s of %s: %s", path, issuer, describe(found.left_out))
    return found


def _verify(statement: object, issuers: Mapping[str, KeySet], audience: str, now: float) -> dict[str, Any]:
    if not isinstance(statement, str):
        raise _rejected("not a string")
    try:
        unverified = compact.parse(statement)
    except Rejected as refusal:
        raise _rejected(refusal.reason.code) from None
    issuer = text(unverified.claims, "iss", longest=_MAX_ISSUER)
    if issuer is None:
        raise _rejected("no iss")
    keys = issuers.get(issuer)
    if keys is None:
        raise Rejected(Reason.REGISTRATION_STATEMENT_ISSUER, detail=f"iss {json.dumps(issuer)}")
    try:
        claims = compact.verify_any(unverified, keys.candidates(unverified.alg, unverified.kid)).claims
    except Rejected:
        raise _rejected("no key of the issuer verifies it") from None
    _check_claims(unverified.header, claims, audience, now)
    return claims


def _check_claims(header: dict[str, Any], claims: dict[str, Any], audience: str, now: float) -> None:
    # Attack: the issuer signs other JWTs with the same keys, which say so in typ.
    if "typ" in header and media_type(header["typ"]) != "jwt":
        raise _rejected("another typ")
    try:
        exp, nbf, iat = (instant(claims, name) for name in ("exp", "nbf", "iat"))
    except ValueError as error:
        raise _rejected(f"{error} is not a number") from None
    if exp is not None and exp + LEEWAY <= now:
        raise _rejected("expired")
    if any(begins is not None and begins > now + LEEWAY for begins in (nbf, iat)):
        raise _rejected("not valid yet")
    aud = claims.get("aud", audience)
    if audience not in (aud if isinstance(aud, list) else [aud]):  # RFC 7519 section 4.1.3
        raise _rejected("another audience")


def _rejected(detail: str) -> Rejected:
    return Rejected(Reason.REGISTRATION_STATEMENT, detail=detail)
