"""The client's requests and their order, as generators that yield requests and are sent replies.

They have no network and no clock (the idea is httpx's auth_flow); transport.py drives them.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from affiant.client.protocol import hint
from affiant.client.protocol.presented import Presented
from affiant.errors import LocalError, Refused, Rejected, RemoteError, Unreachable
from affiant.jose import compact
from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.oauth import bearer, metadata, names, revocations, token
from affiant.oauth.metadata import OK, TOO_MANY, Metadata, Reach
from affiant.oauth.token import TokenResponse
from affiant.system.text import printable

if TYPE_CHECKING:  # they load cryptography, which a cached token does not need
    from affiant.client.protocol.assertions import Form
    from affiant.client.protocol.auth import ClientAuth
    from affiant.client.protocol.prover import Prover

log: logging.Logger = logging.getLogger(__name__)

ATTEMPTS = 3  # of one request, for all reasons together
LONGEST_WAIT = 30.0  # seconds in all between the attempts of one request
TIMEOUT_SECONDS = 10.0
MAX_REPLY = 262_144  # bytes; metadata and tokens are far smaller
NOT_TAKEN = frozenset({429, 503})  # the server did not process the request
TRY_AGAIN = NOT_TAKEN | {502, 504}
_REFUSED = (400, 401, 403)
_DENIED = (401, 403)


@dataclass(frozen=True, slots=True)
class Send:
    """A request. Redirects must not be followed: a proof is for one server only."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float = TIMEOUT_SECONDS
    limit: int = MAX_REPLY


class NotSent(Unreachable):
    """No connection was made, so the server did not get the request. The driver throws it into the flow."""


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A response; the names of its headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)
    sent_at: float = 0.0  # when its request was sent, in seconds since the epoch
    request: Send | None = field(default=None, repr=False)


Step = Send | Wait


@dataclass(slots=True, weakref_slot=True)
class Offset:
    """The seconds by which the clock of the server is ahead of ours, as its last refusal showed."""

    seconds: float = 0.0


def discover(
    issuer: str, *, clock: Callable[[], float], reach: Reach | None = None
) -> Generator[Step, Reply | None, Metadata]:
    """Find the server of this issuer (RFC 8414)."""
    try:
        metadata.check_issuer(issuer)
    except ValueError as error:
        raise LocalError(f"{issuer!r} cannot be an issuer: {error}") from None
    way = reach or Reach.of(issuer)
    url, fallback = map(way.inward, metadata.urls(issuer))
    reply = yield from persist(partial(Send, "GET", url), Patience(), TRY_AGAIN, clock)
    if reply.status in metadata.ELSEWHERE:
        url = fallback
        reply = yield from persist(partial(Send, "GET", url), Patience(), TRY_AGAIN, clock)
    return metadata.parse_response(reply.status, way.outward(reply.body), url=url, issuer=issuer)


def endpoint(server: Metadata, name: str, *, missing: str) -> str:
    """Return the URL of an endpoint in the metadata; `missing` completes the message about an issuer without one."""
    try:
        url = server.endpoint(name)
    except ValueError as error:
        raise RemoteError(f"the metadata of {server.issuer}: {error}") from None
    if url is None:
        raise RemoteError(f"{server.issuer} {missing}")
    return url


def request_token(
    server: Metadata,
    client_id: str,
    auth: ClientAuth,
    form: Form,
    *,
    clock: Callable[[], float],
    prover: Prover | None = None,
    offset: Offset | None = None,
    audience: str | None = None,
    reach: Reach | None = None,
) -> Generator[Step, Reply | None, tuple[TokenResponse, float]]:
    """Request a token; return it with when the request that got it was sent, in seconds since the epoch.

    Every attempt has a new assertion, and a new proof if the token is to be bound.
    """
    # A refresh token may be spent although no response came: send it again only if the server did not process it.
    again = NOT_TAKEN if ("grant_type", names.REFRESH_TOKEN) in form else TRY_AGAIN
    url = server.token_endpoint
    if url is None:
        raise RemoteError(f"the metadata of {server.issuer} lack token_endpoint: it issues no tokens to clients")
    reply = yield from ask(
        server,
        url,
        client_id,
        auth,
        form,
        clock=clock,
        prover=prover,
        again=again,
        offset=offset,
        audience=audience,
        reach=reach,
    )
    try:
        return _read(url, reply, bearer.BEARER if prover is None else bearer.DPOP), reply.sent_at
    except RemoteError as error:
        error.retry_after = _retry_after(reply, clock())
        if isinstance(error, Refused) and error.error in auth_errors(form) and error.trace_id is None:
            error.hint = _hint(error, reply, server, auth, clock())
        raise


def auth_errors(form: Form) -> tuple[str, ...]:
    """Return the errors for an assertion that the server does not accept (RFC 7521 sections 4.1.1 and 4.2.1)."""
    is_grant = ("grant_type", names.JWT_BEARER) in form
    return ("invalid_client", "invalid_grant") if is_grant else ("invalid_client",)


def _hint(refused: Refused, reply: Reply, server: Metadata, auth: ClientAuth, now: float) -> str:
    if reply.request is None:
        return ""
    skew = _skew(reply, now) if "date" in reply.headers else None
    if isinstance(auth, Presented):
        return auth.explain(reply.request.body, now=now, skew=skew)
    return hint.explain(refused.description, reply.request.body, reply.request.headers, server, now=now, skew=skew)


def ask(
    server: Metadata,
    url: str,
    client_id: str,
    auth: ClientAuth,
    form: Form,
    *,
    clock: Callable[[], float],
    method: str = "POST",
    prover: Prover | None = None,
    again: frozenset[int] = TRY_AGAIN,
    offset: Offset | None = None,
    audience: str | None = None,
    reach: Reach | None = None,
) -> Generator[Step, Reply | None, Reply]:
    """Send a form to an endpoint that authenticates clients, and return its response, refusals too.

    Every attempt is signed again, for the issuer or another audience. If the server's clock differs, the next attempt
    has its time, and `offset` keeps the difference for the next request.
    """
    patience, offset = Patience(), offset or Offset()
    again, may_be_late = _occasions(again, auth, form)

    def signed() -> Send:
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        fields = list(form)
        auth.apply(fields, headers, client_id=client_id, issuer=audience or server.issuer, now=clock() + offset.seconds)
        if prover is not None:
            headers["dpop"] = prover.prove(method, url, offset=offset.seconds)
        return Send(method, reach.inward(url) if reach else url, headers, urlencode(fields).encode("ascii"))

    reply = yield from persist(signed, patience, again, clock)
    skew = _skew(reply, clock())
    # Against the time that was signed with: a clock that was set right makes an old offset wrong.
    if patience.attempts and abs(skew - offset.seconds) > hint.SKEW_SECONDS and _error(reply) in may_be_late:
        offset.seconds = skew if abs(skew) > hint.SKEW_SECONDS else 0.0
        if offset.seconds:
            side = "behind" if skew > 0 else "ahead of"
            log.warning("this machine's clock is %.0f s %s %s", abs(skew), side, server.issuer)
        reply = yield from persist(signed, patience, again, clock)
    # Order: after the clock, since servers check the assertion before its proof.
    has_nonce = prover is not None and prover.learn(url, reply.headers)
    if patience.attempts and has_nonce and _error(reply) == "use_dpop_nonce":
        reply = yield from persist(signed, patience, again, clock)
    return reply


def _occasions(again: frozenset[int], auth: ClientAuth, form: Form) -> tuple[frozenset[int], set[str]]:
    """Return after which statuses the request is sent again, and after which errors with the server's time."""
    if isinstance(auth, Presented) and not auth.may_resend:
        # A server that takes the one token once would answer the second attempt with a replay, and not with its reason.
        return again & NOT_TAKEN, {"invalid_dpop_proof"}
    return again, {*auth_errors(form), "invalid_dpop_proof"}


def find_revoked(
    issuer: str, token: str, *, clock: Callable[[], float], reach: Reach | None = None
) -> Generator[Step, Reply | None, bool]:
    """Ask whether an access token is in the server's feed of revocations; a server without a feed revokes none."""
    way = reach or Reach.of(issuer)
    server = yield from discover(issuer, clock=clock, reach=way)
    if server.revocations_uri is None:
        return False
    text = (yield from _fetch_once(way.inward(server.revocations_uri), clock)).decode("ascii")
    signed = compact.parse(text, limit=revocations.MAX_BYTES)
    keys = KeySet.parse(parse_object((yield from _fetch_once(way.inward(server.require_jwks_uri()), clock))))
    key = keys.find(signed.kid) if signed.kid is not None else None
    if key is None:
        raise RemoteError(f"{server.jwks_uri} has no key for the revocations")
    feed = revocations.verify(compact.verify(signed, key), issuer=issuer, now=clock())
    try:
        return feed.revokes(compact.parse(token).claims)
    except Rejected:  # not a JWT, so from another server: no revocation names it
        return False


def _fetch_once(url: str, clock: Callable[[], float]) -> Generator[Step, Reply | None, bytes]:
    send = Send("GET", url, limit=revocations.MAX_BYTES)
    reply = yield from persist(lambda: send, Patience(attempts=1), TRY_AGAIN, clock)
    if reply.status != OK:
        raise RemoteError(f"{url} answered {reply.status}")
    return reply.body


@dataclass(slots=True)
class Patience:
    """The rest of a request's budget: attempts, and seconds to wait between them."""

    attempts: int = ATTEMPTS
    seconds: float = LONGEST_WAIT


def persist(
    make: Callable[[], Send], patience: Patience, again: frozenset[int], clock: Callable[[], float]
) -> Generator[Step, Reply | None, Reply]:
    """Send until there is a response to return, or patience ends. NotSent is raised if no connection was made.

    `make` makes the request for each attempt. After a status in `again` it may be sent again.
    """
    while True:
        patience.attempts -= 1
        sent_at = clock()
        step = make()
        try:
            reply = yield step
        except NotSent:
            wait = _backoff(patience)
            if patience.attempts <= 0 or wait > patience.seconds:
                raise
        else:
            if reply is None:
                raise RemoteError(f"{step.url}: no reply")
            wait = _delay(reply, patience, again, clock())
            if patience.attempts <= 0 or wait > patience.seconds:
                return replace(reply, sent_at=sent_at, request=step)
        patience.seconds -= wait
        yield Wait(wait)


def _read(url: str, reply: Reply, scheme: str) -> TokenResponse:
    if reply.status == OK:
        try:
            answer = token.parse_response(reply.body)
        except ValueError as error:
            raise RemoteError(f"{url}: {error}") from None
        # RFC 6749 section 7.1: an unknown type must not be used. RFC 9449 section 5: nor a token that is not bound.
        if answer.token_type.lower() != scheme.lower():
            raise RemoteError(f"{url} issued a token of another type than {scheme}")
        return answer
    failure = refusal(reply, url)
    if reply.status in _DENIED and not isinstance(failure, Refused):
        # RFC 6749 section 5.2 wants an error code; Glewlwyd answers 403 and nothing, for one.
        failure = Refused("invalid_client", description=str(failure), status=reply.status)
    raise failure


def refusal(reply: Reply, url: str) -> RemoteError:
    """Return the error in a reply."""
    members = _members(reply)
    code = members.get("error")
    if 300 <= reply.status < 400:  # noqa: PLR2004
        return RemoteError(
            f"{url} answered {reply.status}, a redirect: not followed, since a proof is for one server only"
        )
    if not isinstance(code, str):
        return RemoteError(f"{url} answered {reply.status}, and not with an OAuth error")
    return Refused(
        printable(code, 100),
        description=printable(members.get("error_description"), 500),
        trace_id=printable(members.get("trace_id"), 100) or None,
        status=reply.status,
        error_uri=printable(members.get("error_uri"), 500) or None,
    )


def _members(reply: Reply) -> dict[str, object]:
    try:
        return parse_object(reply.body)
    except ValueError:
        return {}


def _error(reply: Reply) -> object:
    return _members(reply).get("error") if reply.status in _REFUSED else None


def _skew(reply: Reply, now: float) -> float:
    """Return how many seconds the server's clock is ahead of ours."""
    try:
        return parsedate_to_datetime(reply.headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0


def _delay(reply: Reply, patience: Patience, again: frozenset[int], now: float) -> float:
    """Return the seconds to wait before the next attempt; infinite if there must be none."""
    asked = _retry_after(reply, now)
    if reply.status not in again or (reply.status == TOO_MANY and asked is None):
        return math.inf
    return asked if asked is not None else _backoff(patience)


def _backoff(patience: Patience) -> float:
    # Jitter: clients that failed together must not come back together.
    return 0.2 * 2.0 ** (ATTEMPTS - patience.attempts) * random.uniform(0.5, 1)  # noqa: S311 - jitter


def _retry_after(reply: Reply, now: float) -> float | None:
    """Read seconds, or a date (RFC 9110 section 10.2.3)."""
    asked = reply.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        date = parsedate_to_datetime(asked).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    # By the server's own clock, if the reply has its Date: ours may be wrong.
    return max(0.0, date - now - _skew(reply, now))
