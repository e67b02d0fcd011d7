"""What a refused caller gets: the exact status and challenge of RFC 6750 section 3 and RFC 9449 section 7.1."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from affiant.errors import Rejected, RemoteError
from affiant.oauth import bearer
from affiant.reasons import Reason
from affiant.resource.guard import Guard

log = logging.getLogger(__name__)

# The headers of a refusal that a page may read, if the CORS headers of the API admit its origin.
_ALWAYS = {
    "Access-Control-Expose-Headers": "WWW-Authenticate, DPoP-Nonce, Retry-After",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Denied:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def deny(guard: Guard, error: Rejected | RemoteError, authorization: Sequence[bytes] = ()) -> Denied:
    """The answer to a request that may not pass; the token is in no log and no answer.

    Args:
        guard: who checked.
        error: why it may not.
        authorization: every value of its Authorization header, since a refusal is told in the scheme that was used.
    """
    if not isinstance(error, Rejected):
        log.error("no token of %s can be checked: %s", guard.issuer, error)
        return _answer(503, {"Retry-After": "5"}, "temporarily_unavailable", "the token cannot be checked now")
    row = error.reason.value
    log.info("refused: %s %s", row.code, error.detail)
    # What is wrong with a proof is 400 at the token endpoint and 401 at an API (RFC 9449 sections 5 and 7.1).
    status = 401 if row.code.startswith("dpop.") else row.status
    headers = {"WWW-Authenticate": _challenges(guard, error, authorization)}
    nonce = guard.current_nonce() if row.error == "use_dpop_nonce" else None
    if nonce is not None:
        headers["DPoP-Nonce"] = nonce
    return _answer(status, headers, row.error, row.sentence)


def _challenges(guard: Guard, error: Rejected, authorization: Sequence[bytes]) -> str:
    """One for each scheme that is taken, in one header; the refusal stands in the one that was used."""
    row = error.reason.value
    said: dict[str, str | None] = {"realm": guard.realm}
    if guard.published is not None:
        said["resource_metadata"] = guard.published.url  # RFC 9728 section 5.1
    # RFC 6750 section 3.1: who sent no credentials is asked for them, not accused.
    if error.reason is not Reason.TOKEN_MISSING:
        scope = error.expected if error.reason is Reason.SCOPE_INSUFFICIENT else None
        said |= {"error": row.error, "description": row.sentence, "scope": scope}
    with_dpop = bool(authorization) and authorization[0][:5].lower() == b"dpop "
    used = bearer.DPOP if with_dpop or bearer.BEARER not in guard.schemes else bearer.BEARER
    others = [scheme for scheme in guard.schemes if scheme != used]
    return ", ".join([_challenge(guard, used, **said), *(_challenge(guard, other) for other in others)])


def _challenge(guard: Guard, scheme: str, **said: str | None) -> str:
    algs = " ".join(guard.proof_algorithms) if scheme == bearer.DPOP else None
    return bearer.challenge(**said, algs=algs, scheme=scheme)


def _answer(status: int, headers: dict[str, str], error: str, description: str) -> Denied:
    body = json.dumps({"error": error, "error_description": description}).encode()
    return Denied(status, {**headers, "Content-Type": "application/json", **_ALWAYS}, body)
