"""Refusals of the admin API as problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import bearer
from affiant.server.admin import documents
from affiant.server.request.endpoint import remedy_headers
from affiant.server.request.http import Answer
from affiant.server.request.notes import Request
from affiant.storage.records import AlreadyExists, NotFound

MEDIA_TYPE = "application/problem+json"
_MAX_MISTAKES = 8
_IN_WORDS = {
    documents.WORD: "printable ASCII characters without a space",
    documents.LABEL: "no control characters",
}
_MAX_DETAIL = 1000  # characters


def rejected(error: Exception) -> Exception:
    """Return the Rejected of an error that the caller has caused, and every other error itself."""
    if isinstance(error, NotFound):
        return Rejected(Reason.ADMIN_NOT_FOUND, expected=str(error))
    if isinstance(error, AlreadyExists):
        return Rejected(Reason.ADMIN_EXISTS, expected=str(error))
    if isinstance(error, ConfigError):
        return Rejected(Reason.ADMIN_INVALID, expected=str(error))
    return error


def invalid(error: ValidationError, *place: str) -> Rejected:
    """Return the refusal that says where a request is wrong, and how; no value is repeated, which may be a secret."""
    mistakes = [(*place, *map(str, one["loc"]), _sentence(one)) for one in error.errors()[:_MAX_MISTAKES]]
    in_body = all(path[0] == "body" for path in mistakes)
    expected = "; ".join(f"{'.'.join(path)}: {sentence}" for *path, sentence in mistakes)
    return Rejected(Reason.ADMIN_INVALID if in_body else Reason.ADMIN_QUERY, expected=expected)


def build(refusal: Rejected, request: Request, *, issuer: str, nonce: str | None = None) -> Answer:
    """Build the answer to a refused request; `nonce` is for the next DPoP proof (RFC 9449 section 9)."""
    row = refusal.reason.value
    status = 401 if row.code.startswith("dpop.") else row.status  # RFC 9449 section 7.1
    members: dict[str, Any] = {
        "type": f"{issuer}/errors/{row.code}",
        "title": row.sentence,
        "status": status,
        "detail": refusal.expected[:_MAX_DETAIL] or row.fix,
        "reason": row.code,
        "trace_id": request.trace_id,
    }
    headers = remedy_headers(refusal)
    if not headers and status in (401, 403):
        headers = [(b"www-authenticate", _challenges(refusal, issuer).encode())]
    if nonce is not None:
        headers = [*headers, (b"dpop-nonce", nonce.encode())]
    return Answer(status, members, headers, media_type=MEDIA_TYPE.encode())


def _challenges(refusal: Rejected, issuer: str) -> str:
    row, parameters = refusal.reason.value, {"realm": issuer}
    if refusal.reason is not Reason.TOKEN_MISSING:
        parameters |= {"error": row.error, "description": row.sentence}
    if refusal.reason is Reason.SCOPE_INSUFFICIENT:
        parameters["scope"] = refusal.expected
    # RFC 9449 section 7.1: an error of a proof is in the challenge of the scheme DPoP.
    algs, is_proof = " ".join(ASYMMETRIC), row.code.startswith("dpop.")
    at_bearer, at_dpop = ({}, parameters) if is_proof else (parameters, {})
    return ", ".join((bearer.challenge(**at_bearer), bearer.challenge(**at_dpop, scheme=bearer.DPOP, algs=algs)))


def _sentence(mistake: Any) -> str:
    """Return words instead of a pattern."""
    wanted = _IN_WORDS.get(mistake.get("ctx", {}).get("pattern"))
    return str(mistake["msg"]) if wanted is None else f"should have {wanted}"
