"""The response to a refused request: the exact status and challenge of RFC 6750 section 3 and RFC 9449 section 7.1."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from affiant.errors import Rejected, RemoteError
from affiant.oauth import bearer
from affiant.oauth.resource_request import Rules
from affiant.reasons import Reason
from affiant.resource.metadata import Published

log = logging.getLogger(__name__)

# The headers of a refusal that a page may read, if the CORS headers of the API admit its origin.
_ALWAYS = {
    "Access-Control-Expose-Headers": "WWW-Authenticate, DPoP-Nonce, Retry-After",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Denied:
    """A whole response that refuses a request.

    Attributes:
        status: of HTTP.
        headers: of HTTP.
        body: a JSON object with ``error`` and ``error_description``.
        error: the code in it, such as ``invalid_token``.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    error: str


@dataclass(frozen=True, slots=True)
class Challenges:
    """The parts of a refusal that are the same for all requests to one API."""

    rules: Rules
    realm: str
    published: Published | None

    def deny(self, error: Rejected | RemoteError, authorization: Sequence[bytes], nonce: str | None) -> Denied:
        """Return the response for this error. The token is neither logged nor sent.

        `authorization` is every value of the request's header: the challenge names its scheme first.
        """
        if not isinstance(error, Rejected):
            log.error("no token of %s can be checked: %s", self.rules.issuer, error)
            return _answer(503, {"Retry-After": "5"}, "temporarily_unavailable", "the token cannot be checked now")
        row = error.reason.value
        log.info("refused: %s %s", row.code, error.detail)
        # A bad proof is 400 at the token endpoint and 401 at an API (RFC 9449 sections 5 and 7.1).
        status = 401 if row.code.startswith("dpop.") else row.status
        headers = {"WWW-Authenticate": self._header(error, authorization)}
        if row.error == "use_dpop_nonce" and nonce is not None:
            headers["DPoP-Nonce"] = nonce
        return _answer(status, headers, row.error, row.sentence)

    def _header(self, error: Rejected, authorization: Sequence[bytes]) -> str:
        """Return a challenge for each accepted scheme; the one that the request used carries the error."""
        row = error.reason.value
        details: dict[str, str | None] = {"realm": self.realm}
        if self.published is not None:
            details["resource_metadata"] = self.published.url  # RFC 9728 section 5.1
        # RFC 6750 section 3.1: a request without credentials gets no error code.
        if error.reason is not Reason.TOKEN_MISSING:
            scope = error.expected if error.reason is Reason.SCOPE_INSUFFICIENT else None
            details |= {"error": row.error, "description": row.sentence, "scope": scope}
        with_dpop = bool(authorization) and authorization[0][:5].lower() == b"dpop "
        used = bearer.DPOP if with_dpop or bearer.BEARER not in self.rules.schemes else bearer.BEARER
        others = [scheme for scheme in self.rules.schemes if scheme != used]
        return ", ".join([self._challenge(used, **details), *map(self._challenge, others)])

    def _challenge(self, scheme: str, **details: str | None) -> str:
        algs = " ".join(self.rules.proof_algorithms) if scheme == bearer.DPOP else None
        return bearer.challenge(**details, algs=algs, scheme=scheme)


def _answer(status: int, headers: dict[str, str], error: str, description: str) -> Denied:
    body = json.dumps({"error": error, "error_description": description}).encode()
    return Denied(status, {**headers, "Content-Type": "application/json", **_ALWAYS}, body, error)
