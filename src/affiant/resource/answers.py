"""The response to a refused request: the exact status and challenge of RFC 6750 section 3 and RFC 9449 section 7.1."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.oauth import bearer
from affiant.oauth.resource_request import Rules
from affiant.resource.metadata import Published

log: logging.Logger = logging.getLogger(__name__)

# The headers of a refusal that a page may read, if the CORS headers of the API admit its origin.
_ALWAYS = {
    "Content-Type": "application/json",
    "Access-Control-Expose-Headers": "WWW-Authenticate, DPoP-Nonce, Retry-After",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


# Sent to callers instead of the reason, unless the guard is in development mode.
_UNEXPLAINED = {
    "invalid_token": "the access token has expired, was revoked or is not valid here",
    "invalid_dpop_proof": "the DPoP proof is not valid for this request",
}


@dataclass(frozen=True, slots=True)
class Denied:
    """A whole response that refuses a request.

    Attributes:
        status: of HTTP.
        headers: of HTTP.
        body: a JSON object with ``error`` and ``error_description``; without ``error`` if the request had no
            credentials (RFC 6750 section 3.1).
        error: the code, such as ``invalid_token``.
        reason: why, for logs and metrics; None if the token could not be checked (503).
    """

    status: int
    headers: dict[str, str]
    body: bytes
    error: str
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Challenges:
    """The parts of a refusal that are the same for all requests to one API.

    With `is_development` the caller gets the reason of each refusal; otherwise only the log has it. `page` is where
    clients with an API key read how to get tokens.
    """

    rules: Rules
    realm: str
    published: Published | None
    is_development: bool = False
    page: str | None = None

    def deny(
        self, error: Rejected | RemoteError, authorization: Sequence[bytes], nonce: str | None, *, algs: Sequence[str]
    ) -> Denied:
        """Return the response for this error. The token is neither logged nor sent.

        `authorization` is every value of the request's header: the challenge names its scheme first. `algs` are the
        algorithms of proofs.
        """
        if not isinstance(error, Rejected):
            log.error("no token of %s can be checked: %s", " or ".join(self.rules.issuers), error)
            members = {"error": "temporarily_unavailable", "error_description": "the token cannot be checked now"}
            return Denied(503, {"Retry-After": "5", **_ALWAYS}, json.dumps(members).encode(), members["error"])
        row = error.reason.value
        # Of a token it is a setting of this API; of a proof it is from the request, which a stranger wrote.
        expected = f"expected {error.expected}" if error.expected and row.code.startswith("token.") else ""
        log.info("%s", "; ".join(filter(None, (f"refused: {row.code} {error.detail}".rstrip(), expected))))
        # A bad proof is 400 at the token endpoint and 401 at an API (RFC 9449 sections 5 and 7.1).
        status = 401 if row.code.startswith("dpop.") else row.status
        details = self._details(error)
        headers = {"WWW-Authenticate": self._header(details, authorization, algs), **_ALWAYS}
        if row.error == "use_dpop_nonce" and nonce is not None:
            headers["DPoP-Nonce"] = nonce
        members = {} if error.reason is Reason.TOKEN_MISSING else {"error": row.error}
        if details.get("error_uri") is not None:
            members["error_uri"] = str(details["error_uri"])
        body = json.dumps({**members, "error_description": self._description(error)}).encode()
        return Denied(status, headers, body, row.error, error.reason)

    def _details(self, error: Rejected) -> dict[str, str | None]:
        """Return the parameters of the challenge that are about this refusal."""
        row = error.reason.value
        # RFC 6750 section 3.1: a request without credentials gets no error code. MCP clients look for the scope.
        if error.reason is Reason.TOKEN_MISSING:
            return {"scope": error.expected or None}
        scope = error.expected if error.reason is Reason.SCOPE_INSUFFICIENT else None
        page = self.page if error.reason in (Reason.TOKEN_API_KEY, Reason.TOKEN_API_KEY_ENDED) else None
        return {"error": row.error, "description": self._description(error), "scope": scope, "error_uri": page}

    def _description(self, error: Rejected) -> str:
        row = error.reason.value
        if self.is_development:
            return f"{row.sentence}: {error.detail}" if error.detail else row.sentence
        return row.sentence if error.reason is Reason.TOKEN_MISSING else _UNEXPLAINED.get(row.error, row.sentence)

    def _header(self, details: dict[str, str | None], authorization: Sequence[bytes], algs: Sequence[str]) -> str:
        """Return a challenge for each accepted scheme; the one that the request used carries the error."""
        always = {"realm": self.realm}
        if self.published is not None:
            always["resource_metadata"] = self.published.url  # RFC 9728 section 5.1
        with_dpop = bool(authorization) and authorization[0][:5].lower() == b"dpop "
        used = bearer.DPOP if with_dpop or bearer.BEARER not in self.rules.schemes else bearer.BEARER
        others = [scheme for scheme in self.rules.schemes if scheme != used]
        first = _challenge(used, algs, **always, **details)
        return ", ".join([first, *(_challenge(scheme, algs) for scheme in others)])


def _challenge(scheme: str, algs: Sequence[str], **details: str | None) -> str:
    return bearer.challenge(**details, algs=" ".join(algs) if scheme == bearer.DPOP else None, scheme=scheme)


# For a request that no rule of a middleware names.
NO_ROUTE = Denied(404, dict(_ALWAYS), b'{"error": "not_found", "error_description": "no such route"}', "not_found")
