"""Ask the issuer about each token while the request waits (RFC 7662, RFC 9701).

For an API that must reject a token as soon as it is revoked. The guard checks the token first: only a valid one is
asked about, so a request without one causes no question. An opaque token says nothing by itself, so the issuer is asked
about every one, and the guard judges what it answers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.claims import audiences, instant
from affiant.jose.strict_json import parse_object
from affiant.oauth import access_token, bearer, introspection
from affiant.oauth.access_token import Accepted, AccessToken, JudgedToken
from affiant.oauth.metadata import Metadata
from affiant.resource.issuer.offline import Keys
from affiant.resource.issuer.remote import OK, TIMEOUT_SECONDS, RemoteIssuer, Response
from affiant.system.network import require_http
from affiant.system.single_flight import SingleFlight, Work

if TYPE_CHECKING:  # the first question loads it
    import httpx2

Result = TypeVar("Result")

MOST_SECONDS = 30  # cache lifetime of an answer
MAX_REMEMBERED = 1024
_ENDPOINT = "introspection_endpoint"
_PROOFS = frozenset({"client_assertion", "client_secret"})
_JWT_DOTS = (2, 4)  # signed, encrypted
_INACTIVE = "an opaque token that is not active"
_REFUSALS = (400, 401, 403)
_ACCEPT = f"{introspection.MEDIA_TYPE}, application/json;q=0.5"


def is_opaque(text: str) -> bool:
    """Whether a token is no JWT. A malformed JWT is not opaque: the guard rejects it, whatever an issuer says."""
    return text.count(".") not in _JWT_DOTS


class Authenticator(Protocol):
    """Authenticates the API to its issuer, as `Assertion` of affiant.client does; OverTls needs `http` of the guard."""

    def apply(
        self, form: list[tuple[str, str]], headers: dict[str, str], *, client_id: str, issuer: str, now: float
    ) -> None:
        """Add the proof to the form or the headers; called for every request."""


@dataclass(frozen=True, slots=True)
class Introspection:
    """How an API asks the issuer whether a token is active (RFC 7662).

    Attributes:
        client_id: of the API itself: ``affiant client new NAME --introspect IDENTIFIER``.
        auth: its authentication, such as ``affiant.client.Assertion(key)`` or ``SecretBasic(secret)``. For
            ``OverTls()`` the guard's `http` has the certificate.
        cache_seconds: how long an answer may be used again, 30 at most, and never beyond the token's ``exp``; for so
            long a revoked token may be accepted. With 0, each request gets an answer from after its arrival.
        signed: True rejects answers that are not signed (RFC 9701). Signed ones are requested in any case.
        opaque: True accepts opaque tokens, too: the issuer's answer is then judged like the claims of a JWT. It must
            have audience, client and expiry.

    Raises:
        ConfigError: no client_id, or impossible cache_seconds.
    """

    client_id: str
    auth: Authenticator = field(repr=False)
    cache_seconds: float = 0
    signed: bool = False
    opaque: bool = False

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ConfigError("introspection needs a client_id: that of the client which speaks for this API")
        if not 0 <= self.cache_seconds <= MOST_SECONDS:
            raise ConfigError(f"cache_seconds= is between 0 and {MOST_SECONDS}")


def _digest(text: str) -> bytes:
    return sha256(text.encode("ascii")).digest()


def _check_bound(members: dict[str, Any], token: AccessToken) -> None:
    """Reject a token that is bound by the answer (RFC 9449 section 6.2, RFC 8705 section 3.2), and not by itself."""
    cnf = token.claims.get("cnf")
    is_by_key = str(members.get("token_type")).lower() == bearer.DPOP.lower()
    if members.get("cnf", cnf) != cnf or (is_by_key and "jkt" not in (cnf or ())):
        raise Rejected(Reason.TOKEN_BINDING, detail="its issuer says that it is bound to another key")


def _is_by_tls(form: list[tuple[str, str]], headers: dict[str, str]) -> bool:
    """Whether nothing but the connection authenticates the API (RFC 8705 section 2)."""
    return "authorization" not in headers and _PROOFS.isdisjoint(name for name, _ in form)


class Answers(Generic[Result]):
    """Answers of the issuer by the digest of the token, in a bounded memory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, float, Result]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, digest: bytes) -> Result | None:
        asked_at, until, answer = self._known.get(digest, (0.0, 0.0, None))
        # Not before it was asked, either: a clock that was set back must not lengthen the life of an answer.
        return answer if asked_at <= self._clock() < until else None

    def keep(self, digest: bytes, answer: Result, *, asked_at: float, until: float) -> None:
        self._known.pop(digest, None)
        if until > asked_at:
            self._known[digest] = asked_at, until, answer
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)


class Introspected:
    """The tokens of one issuer for one API, as the issuer describes them."""

    def __init__(
        self,
        issuer: RemoteIssuer,
        keys: Keys,
        options: Introspection,
        *,
        accepted: Accepted,
        clock: Callable[[], float],
    ) -> None:
        self.client_id: str = options.client_id
        self._issuer = issuer
        self._keys = keys
        self._options = options
        self._accepted = accepted
        self._clock = clock
        self._answers = Answers[bool](clock)  # whether a token is active
        # Attack: invented tokens need the places of good ones. Those have a memory of their own.
        self._described, self._inactive = Answers[JudgedToken](clock), Answers[float](clock)
        self._flights, self._descriptions = SingleFlight[bool](), SingleFlight[JudgedToken]()

    @property
    def is_for_opaque(self) -> bool:
        return self._options.opaque

    def is_known(self, text: str, token: AccessToken) -> bool:
        """Whether a cached answer says that the token is active; raise what `check` raises if it says otherwise."""
        is_active = self._answers.find(_digest(text))
        if is_active is False:
            raise self._refusal(token)
        return is_active is True

    def find(self, text: str) -> JudgedToken | None:
        """Return an opaque token as a cached answer describes it."""
        return self._described.find(_digest(text))

    async def check(self, text: str, token: AccessToken) -> None:
        """Ask; raise TOKEN_REVOKED or TOKEN_EXPIRED if the token is not active.

        Raises RemoteError if the issuer does not answer, or not in a way that can be trusted.
        """
        digest = _digest(text)
        ask = partial(self._once, self._flights, digest, partial(self._ask, digest, text, token))
        if not await self._perform(ask):
            raise self._refusal(token)

    def _refusal(self, token: AccessToken) -> Rejected:
        return Rejected(Reason.TOKEN_EXPIRED if token.expires_at <= self._clock() else Reason.TOKEN_REVOKED)

    async def describe(self, text: str) -> JudgedToken:
        """Ask; return an opaque token as its issuer describes it to this API.

        Raises TOKEN_REVOKED if it is not active, and what the rules for claims raise; RemoteError as `check` does.
        """
        if len(text) > compact.MAX_CHARACTERS:
            raise Rejected(Reason.TOKEN_MALFORMED)
        digest = _digest(text)
        if self._inactive.find(digest) is not None:
            raise Rejected(Reason.TOKEN_REVOKED, detail=_INACTIVE)
        ask = partial(self._once, self._descriptions, digest, partial(self._ask_for_description, digest, text))
        return await self._perform(ask)

    async def _perform(self, ask: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        return await self._issuer.perform(ask, seconds=2 * TIMEOUT_SECONDS)  # it may wait for the one in flight

    async def _once(self, flights: SingleFlight[Result], digest: bytes, ask: Work[Result]) -> Result:
        flight = flights.find(digest)
        if flight is not None and not self._options.cache_seconds:
            # The answer in flight may be older than a revocation that was confirmed before this request: use the next.
            await asyncio.wait([flight])
        return await flights.run(ask, key=digest)

    async def _ask(self, digest: bytes, text: str, token: AccessToken) -> bool:
        asked_at, members = await self._members_of(text)
        is_active: bool = members["active"]
        until = min(asked_at + self._options.cache_seconds, token.expires_at)
        if is_active:
            until = min(until, self._check_same(members, token))
        self._answers.keep(digest, is_active, asked_at=asked_at, until=until)
        return is_active

    async def _ask_for_description(self, digest: bytes, text: str) -> JudgedToken:
        asked_at, members = await self._members_of(text)
        until = asked_at + self._options.cache_seconds
        if not members["active"]:
            self._inactive.keep(digest, asked_at, asked_at=asked_at, until=until)
            raise Rejected(Reason.TOKEN_REVOKED, detail=_INACTIVE)
        judged = access_token.judge_described(members, self._accepted)
        self._described.keep(digest, judged, asked_at=asked_at, until=min(until, judged.token.expires_at))
        return judged

    async def _members_of(self, text: str) -> tuple[float, dict[str, Any]]:
        """Return the members of a new answer, and when it was asked for."""
        # Counted from the question: a revocation while the answer was in flight is not in it.
        asked_at = self._clock()
        response = await self._fetch(text, asked_at)
        if response.status != OK:
            raise RemoteError(self._refused(response.status))
        return asked_at, await self._members(response)

    async def _fetch(self, text: str, now: float) -> Response:
        require_http()
        import httpx2  # noqa: PLC0415 - an API without introspection never loads it

        async with self._issuer.reconnect() as http, asyncio.timeout(TIMEOUT_SECONDS):
            found = await self._issuer.metadata(http)
            try:
                return await self._send(http, found, text, now)
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
                # The issuer has closed a connection that stayed open. Again, with a new proof of the API.
                return await self._send(http, found, text, now)

    async def _send(self, http: httpx2.AsyncClient, found: Metadata, text: str, now: float) -> Response:
        form, headers = [("token", text), ("token_type_hint", "access_token")], {"accept": _ACCEPT}
        client_id = self._options.client_id
        self._options.auth.apply(form, headers, client_id=client_id, issuer=self._issuer.identifier, now=now)
        url = (found.alias(_ENDPOINT) if _is_by_tls(form, headers) else None) or found.endpoint(_ENDPOINT)
        if url is None:
            raise RemoteError(f"{self._issuer.identifier} names no {_ENDPOINT}")
        return await self._issuer.post(http, url, form, headers=headers)

    async def _members(self, response: Response) -> dict[str, Any]:
        """Return the members of an answer that is signed if it must be, by this issuer, for this API."""
        try:
            if response.media_type == introspection.MEDIA_TYPE:
                return await self._verify(response.body)
            if self._options.signed:
                raise ValueError("the answer is not signed")
            members = parse_object(response.body)
        except (Rejected, ValueError) as error:
            raise RemoteError(f"the introspection of {self._issuer.identifier} cannot be trusted: {error}") from None
        if response.media_type != "application/json" or not isinstance(members.get("active"), bool):
            raise RemoteError(f"the introspection of {self._issuer.identifier} is no answer of RFC 7662")
        return members

    async def _verify(self, body: bytes) -> dict[str, Any]:
        verified = await self._keys.verify(compact.parse(body.decode("ascii"), limit=len(body)))
        # Attack: an answer from before a revocation is replayed. It must have been made for this question.
        return introspection.verify(
            verified,
            issuer=self._issuer.identifier,
            audience=self._options.client_id,
            now=self._clock(),
            max_age=int(TIMEOUT_SECONDS),
        )

    def _check_same(self, members: dict[str, Any], token: AccessToken) -> float:
        """Reject an answer about another token or for other APIs. Return until when the token is valid by it."""
        try:
            exp = instant(members, "exp")
        except ValueError:
            exp = 0.0  # used once, and not cached
        known = {"iss": self._accepted.issuer, "client_id": token.client_id, "jti": token.claims.get("jti")}
        is_same = all(members.get(name, value) == value for name, value in known.items() if value is not None)
        if not is_same or ("aud" in members and self._accepted.audiences.isdisjoint(audiences(members))):
            raise RemoteError(f"{self._issuer.identifier} answered about another token")
        _check_bound(members, token)
        return token.expires_at if exp is None else exp

    def _refused(self, status: int) -> str:
        message = f"the introspection endpoint of {self._issuer.identifier} answered {status}"
        if status not in _REFUSALS:
            return message
        audience = " or ".join(sorted(self._accepted.audiences))
        return f"{message}: may {self._options.client_id!r} introspect for {audience!r}, and is its key the right one?"
