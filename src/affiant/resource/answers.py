"""What a refused caller gets: the exact status and challenge of RFC 6750 section 3."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affiant.errors import Rejected
from affiant.oauth import bearer
from affiant.reasons import Reason

if TYPE_CHECKING:
    from affiant.errors import RemoteError
    from affiant.resource.guard import Guard

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Denied:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def deny(guard: Guard, error: Rejected | RemoteError) -> Denied:
    """The answer to a request that may not pass; the token is in no log and no answer."""
    if not isinstance(error, Rejected):
        log.error("the keys of %s are not to be had: %s", guard.issuer, error)
        return _answer(503, {"Retry-After": "5"}, "temporarily_unavailable", "the token cannot be checked now")
    row = error.reason.value
    log.info("refused: %s %s", row.code, error.detail)
    if error.reason is Reason.TOKEN_MISSING:
        # RFC 6750 section 3.1: who sent no credentials is asked for them, not accused.
        return _answer(401, {"WWW-Authenticate": bearer.challenge(realm=guard.realm)}, row.error, row.sentence)
    scope = error.expected if error.reason is Reason.SCOPE_INSUFFICIENT else None
    challenge = bearer.challenge(realm=guard.realm, error=row.error, description=row.sentence, scope=scope)
    return _answer(row.status, {"WWW-Authenticate": challenge}, row.error, row.sentence)


def _answer(status: int, headers: dict[str, str], error: str, description: str) -> Denied:
    body = json.dumps({"error": error, "error_description": description}).encode()
    return Denied(status, {**headers, "Content-Type": "application/json", "Cache-Control": "no-store"}, body)
