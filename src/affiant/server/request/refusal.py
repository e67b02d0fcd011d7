"""What a refused caller is told: proof first, then plain speech."""

from __future__ import annotations

from affiant.errors import Rejected
from affiant.oauth import bearer, names
from affiant.reasons import Reason
from affiant.server.request import http
from affiant.server.request.limits import Limited
from affiant.server.request.visit import Visit

SILENT_RUNGS = range(5, 8)  # from the client's look-up to its signature, one text for every failure
_SILENCE = "client authentication failed"
_FIRST_PROVED_RUNG = 8
_FIRST_RUNG_OF_A_JWT = 3


def refuse(visit: Visit, refusal: Rejected, *, issuer: str) -> http.Answer:
    """The answer to a refused request."""
    row = refusal.reason.value
    silent = row.rung in SILENT_RUNGS
    # RFC 7523 section 3.1: an assertion that is the grant is no failed client authentication, but a grant that is none.
    # Before it is read, the request itself is at fault (RFC 7521 section 4.2.1).
    is_read = row.rung >= _FIRST_RUNG_OF_A_JWT
    is_grant = is_read and visit.grant == names.JWT_BEARER and row.error == "invalid_client"
    is_plain = is_grant or (row.status == 401 and not visit.challenges)  # noqa: PLR2004
    members = {
        "error": "invalid_grant" if is_grant else row.error,
        "error_description": _SILENCE if silent else _sentence(refusal, proved=visit.authenticated is not None),
        "error_uri": f"{issuer}/errors/{'client.authentication_failed' if silent else row.code}",
        "trace_id": visit.trace_id,
    }
    headers = [*([] if is_plain else _headers(refusal, issuer)), *visit.headers]
    return http.Answer(400 if is_plain else row.status, members, [*headers, (b"x-trace-id", visit.trace_id.encode())])


def _sentence(refusal: Rejected, *, proved: bool) -> str:
    row = refusal.reason.value
    said = row.sentence
    if refusal.expected:
        said += f"; expected {refusal.expected}"
    # What came is repeated only to one who proved who it is; to others it could carry anybody's text.
    if refusal.got and (proved or row.rung >= _FIRST_PROVED_RUNG):
        said += f"; got {refusal.got}"
    return http.speakable(said)


def _headers(refusal: Rejected, issuer: str) -> list[tuple[bytes, bytes]]:
    reason = refusal.reason
    if reason is Reason.METHOD:
        return [(b"allow", refusal.expected.encode("ascii"))]
    if isinstance(refusal, Limited):
        return [(b"retry-after", b"%d" % refusal.retry_after)]
    if reason.value.status == 503:  # noqa: PLR2004 - RFC 9110 section 15.6.4
        return [(b"retry-after", b"1")]
    if reason.value.error == "invalid_token":
        # RFC 6750 section 3.1: who sent no credentials is asked for them, not accused.
        error = None if reason is Reason.REGISTRATION_TOKEN_MISSING else reason.value.error
        return [(b"www-authenticate", bearer.challenge(realm=issuer, error=error).encode("ascii"))]
    if reason.value.status == 401:  # noqa: PLR2004 - RFC 9110 section 15.5.2
        return [(b"www-authenticate", f'Basic realm="{issuer}"'.encode("ascii"))]
    return []
