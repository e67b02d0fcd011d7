"""What the client says and in which order, without saying it: generators that yield requests and are sent replies.

One text serves threads and tasks (the idea is httpx's auth_flow); transport.py drives it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from affiant.errors import LocalError, Refused, RemoteError
from affiant.oauth import metadata, names, token
from affiant.oauth.metadata import Metadata, well_known_url

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from affiant.client.auth import ClientAuth, Form
    from affiant.oauth.token import TokenResponse

log = logging.getLogger(__name__)

ATTEMPTS = 3
SKEW_SECONDS = 30  # a reply's Date further off than this explains a refused assertion
LONGEST_WAIT = 30.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_OK, _REFUSED, _NOT_FOUND = 200, (400, 401, 403), 404


@dataclass(frozen=True, slots=True)
class Send:
    """A request to be made. Redirects must not be followed: a proof is for one server only."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds to wait before going on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; the names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


Step = Send | Wait


def discover(issuer: str) -> Generator[Step, Reply | None, Metadata]:
    """Find the server of this issuer (RFC 8414).

    Raises:
        LocalError: the issuer cannot be one.
        RemoteError: no metadata, or metadata of another issuer.
    """
    try:
        metadata.check_issuer(issuer)
    except ValueError as error:
        raise LocalError(f"{issuer!r} cannot be an issuer: {error}") from None
    url = well_known_url(issuer)
    reply = yield Send("GET", url)
    if reply is not None and reply.status == _NOT_FOUND:
        url = issuer + names.WELL_KNOWN_OPENID
        reply = yield Send("GET", url)
    if reply is None or reply.status != _OK:
        raise RemoteError(f"{url} answered {reply.status if reply else 'nothing'}: is {issuer} the right issuer?")
    try:
        return metadata.parse(reply.body, issuer=issuer)
    except ValueError as error:
        raise RemoteError(f"{url}: {error}") from None


def request_token(
    server: Metadata, client_id: str, auth: ClientAuth, form: Form, *, clock: Callable[[], float]
) -> Generator[Step, Reply | None, TokenResponse]:
    """Ask for a token; every attempt signs a new assertion.

    Raises:
        Refused: the server's OAuth error.
        RemoteError: an answer that is none.
    """
    offset = 0.0
    for attempt in range(1, ATTEMPTS + 1):
        now = clock()
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        fields = list(form)
        auth.apply(fields, headers, client_id=client_id, issuer=server.issuer, now=now + offset)
        reply = yield Send("POST", server.token_endpoint, headers, urlencode(fields).encode("ascii"))
        if reply is None:
            raise RemoteError("no reply")
        if reply.status in _TRY_AGAIN and attempt < ATTEMPTS:
            yield Wait(_delay(reply, attempt))
            continue
        skew = _skew(reply, now)
        if reply.status in _REFUSED and _code(reply) == "invalid_client" and not offset and abs(skew) > SKEW_SECONDS:
            log.warning(
                "this machine's clock is %.0f s %s %s", abs(skew), "behind" if skew > 0 else "ahead of", server.issuer
            )
            offset = skew
            continue
        return _read(server, reply)
    raise RemoteError(f"{server.token_endpoint} is not available")


def _read(server: Metadata, reply: Reply) -> TokenResponse:
    if reply.status == _OK:
        try:
            answer = token.parse_response(reply.body)
        except ValueError as error:
            raise RemoteError(f"{server.token_endpoint}: {error}") from None
        if answer.token_type.lower() != "bearer":  # RFC 6749 section 7.1: not understood, not used
            raise RemoteError(f"{server.token_endpoint} issued a token of another type than Bearer")
        return answer
    raise refusal(reply, server.token_endpoint)


def refusal(reply: Reply, url: str) -> RemoteError:
    """The error in a reply."""
    members = _members(reply)
    code = members.get("error")
    if not isinstance(code, str):
        return RemoteError(f"{url} answered {reply.status}, and not with an OAuth error")
    return Refused(
        _plain(code, 100),
        description=_plain(members.get("error_description"), 500),
        trace_id=_plain(members.get("trace_id"), 100) or None,
        status=reply.status,
        error_uri=_plain(members.get("error_uri"), 500) or None,
    )


def _members(reply: Reply) -> dict[str, object]:
    try:
        members = json.loads(reply.body)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def _code(reply: Reply) -> object:
    return _members(reply).get("error")


def _plain(text: object, longest: int) -> str:
    """Text of a stranger, safe for a terminal and a log."""
    return "".join(c if c.isprintable() else "?" for c in text[:longest]) if isinstance(text, str) else ""


def _skew(reply: Reply, now: float) -> float:
    """Seconds that the server's clock is ahead of ours."""
    try:
        return parsedate_to_datetime(reply.headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError):
        return 0.0


def _delay(reply: Reply, attempt: int) -> float:
    asked = reply.headers.get("retry-after", "")
    return min(float(asked), LONGEST_WAIT) if asked.isascii() and asked.isdigit() else 0.2 * 2**attempt
