"""What a refused caller is told: problem details (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from affiant.errors import ConfigError, Rejected, SignerError, StoreError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import bearer
from affiant.reasons import Reason
from affiant.server.admin import documents
from affiant.server.request.limits import Limited
from affiant.server.request.notes import Request
from affiant.storage.records import AlreadyExists, NotFound

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_MAX_MISTAKES = 8
_IN_WORDS = {
    documents.WORD: "printable ASCII characters without a space",
    documents.LABEL: "no control characters",
}
_MAX_DETAIL = 1000  # characters


def refusal_of(error: Exception, visit: Request) -> Rejected:
    """Why this stopped the request, as one of the closed list."""
    if isinstance(error, Rejected):
        return error
    if isinstance(error, NotFound):
        return Rejected(Reason.ADMIN_NOT_FOUND, expected=str(error))
    if isinstance(error, AlreadyExists):
        return Rejected(Reason.ADMIN_EXISTS, expected=str(error))
    if isinstance(error, ConfigError):
        return Rejected(Reason.ADMIN_INVALID, expected=str(error))
    if isinstance(error, StoreError):
        return _away(error, visit)
    log.error("trace %s: unexpected", visit.trace_id, exc_info=error)
    return Rejected(Reason.UNEXPECTED)


def invalid(error: ValidationError, *place: str) -> Rejected:
    """Return the refusal that says where a request is wrong, and how; no value is repeated, which may be a secret."""
    mistakes = [(*place, *map(str, one["loc"]), _sentence(one)) for one in error.errors()[:_MAX_MISTAKES]]
    in_body = all(path[0] == "body" for path in mistakes)
    told = "; ".join(f"{'.'.join(path)}: {sentence}" for *path, sentence in mistakes)
    return Rejected(Reason.ADMIN_INVALID if in_body else Reason.ADMIN_QUERY, expected=told)


def build(refusal: Rejected, visit: Request, *, issuer: str, nonce: str | None = None) -> Response:
    """The answer to a refused request."""
    row = refusal.reason.value
    status = 401 if row.code.startswith("dpop.") else row.status  # RFC 9449 section 7.1
    members: dict[str, Any] = {
        "type": f"{issuer}/errors/{row.code}",
        "title": row.sentence,
        "status": status,
        "detail": refusal.expected[:_MAX_DETAIL] or row.fix,
        "reason": row.code,
        "trace_id": visit.trace_id,
    }
    headers = {**HEADERS, **_headers(refusal, status, issuer), "X-Trace-Id": visit.trace_id}
    if nonce is not None:
        headers["DPoP-Nonce"] = nonce
    return JSONResponse(members, status, headers, MEDIA_TYPE)


def _headers(refusal: Rejected, status: int, issuer: str) -> dict[str, str]:
    if isinstance(refusal, Limited):
        return {"Retry-After": str(refusal.retry_after)}
    if status == 503:  # noqa: PLR2004 - RFC 9110 section 15.6.4
        return {"Retry-After": "1"}
    if refusal.reason is Reason.METHOD and refusal.expected:
        return {"Allow": refusal.expected}
    if status not in (401, 403):
        return {}
    row, said = refusal.reason.value, {"realm": issuer}
    if refusal.reason is not Reason.TOKEN_MISSING:
        said |= {"error": row.error, "description": row.sentence}
    if refusal.reason is Reason.SCOPE_INSUFFICIENT:
        said["scope"] = refusal.expected
    # RFC 9449 section 7.1: what is wrong with a proof is told in its own scheme.
    algs, is_proof = " ".join(ASYMMETRIC), row.code.startswith("dpop.")
    at_bearer, at_dpop = ({}, said) if is_proof else (said, {})
    challenges = bearer.challenge(**at_bearer), bearer.challenge(**at_dpop, scheme=bearer.DPOP, algs=algs)
    return {"WWW-Authenticate": ", ".join(challenges)}


def _away(error: StoreError, visit: Request) -> Rejected:
    is_signer = isinstance(error, SignerError)
    log.error("trace %s: the %s failed: %s", visit.trace_id, "signing key" if is_signer else "store", error)
    return Rejected(Reason.SIGNER, detail=str(error)) if is_signer else Rejected(Reason.STORE)


def _sentence(mistake: Any) -> str:
    """What a person can follow; a pattern is none."""
    wanted = _IN_WORDS.get(mistake.get("ctx", {}).get("pattern"))
    return str(mistake["msg"]) if wanted is None else f"should have {wanted}"
