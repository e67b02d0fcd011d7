"""Whether a token still stands, asked of its issuer while the request waits (RFC 7662, RFC 9701).

For an API that must not let in what was ended a moment ago. The guard judges the token by itself first: only what would
pass is asked for, and a stranger without a token makes nobody ask anything.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.jose import compact
from affiant.jose.strict_json import parse_object
from affiant.oauth.access_token import AccessToken
from affiant.oauth.claims import instant
from affiant.oauth.standing import introspection
from affiant.reasons import Reason
from affiant.resource.issuer import OK, TIMEOUT_SECONDS, Issuer, Published
from affiant.resource.keys import IssuerKeys

Flight = tuple[asyncio.AbstractEventLoop, bytes]

MOST_SECONDS = 30  # that an answer may be used again
MAX_REMEMBERED = 1024
_REFUSALS = (400, 401, 403)
_ACCEPT = f"{introspection.MEDIA_TYPE}, application/json;q=0.5"
_SAME = ("iss", "jti", "client_id")


class Authenticator(Protocol):
    """Proves to the issuer who asks. Those of affiant.client.auth are such, but for OverTls."""

    def apply(
        self, form: list[tuple[str, str]], headers: dict[str, str], *, client_id: str, issuer: str, now: float
    ) -> None:
        """Add the proof to the form or the headers; called anew for every question."""


@dataclass(frozen=True, slots=True)
class Introspection:
    """How an API asks the issuer whether a token still stands.

    Attributes:
        client_id: the API's own, which speaks for it: ``affiant client new NAME --introspect IDENTIFIER``.
        auth: how it proves that, such as ``affiant.client.auth.Assertion(key)`` or ``SecretBasic(secret)``.
        cache_seconds: how long an answer may be used again, 30 at most, and never beyond the token's ``exp``; so long
            may a token pass that was revoked. With 0, each request has an answer that was asked for after it came.
        signed: whether only signed answers are believed (RFC 9701). They are asked for in any case.

    Raises:
        ConfigError: no client_id, or cache_seconds that cannot be.
    """

    client_id: str
    auth: Authenticator = field(repr=False)
    cache_seconds: float = 0
    signed: bool = False

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ConfigError("who introspects needs a client_id: that of the client that speaks for this API")
        if not 0 <= self.cache_seconds <= MOST_SECONDS:
            raise ConfigError(f"cache_seconds= is between 0 and {MOST_SECONDS}")


class Introspected:
    """The tokens of one issuer for one API, as it tells of them.

    Args:
        issuer: who is asked.
        keys: its keys.
        chosen: how it is asked.
        audience: the API's identifier.
        clock: seconds since the epoch.
    """

    def __init__(
        self, issuer: Issuer, keys: IssuerKeys, chosen: Introspection, *, audience: str, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._chosen = chosen
        self._audience = audience
        self._clock = clock
        # All in here is of one issuer, one asker and one API, so the whole token alone tells two answers apart.
        self._answers: OrderedDict[bytes, tuple[float, float, bool]] = OrderedDict()
        self._flights: dict[Flight, asyncio.Task[bool]] = {}

    async def check(self, text: str, token: AccessToken) -> None:
        """Let a token pass that still stands.

        Args:
            text: the token as it came.
            token: the same, which held by itself.

        Raises:
            Rejected: TOKEN_REVOKED, or TOKEN_EXPIRED where that is why.
            RemoteError: the issuer does not answer, or not in a way that can be believed.
        """
        name = sha256(text.encode("ascii")).digest()
        stands = self._remembered(name)
        if stands is None:
            stands = await self._ask_once(name, text, token)
        if not stands:
            raise Rejected(Reason.TOKEN_EXPIRED if token.expires_at <= self._clock() else Reason.TOKEN_REVOKED)

    def _remembered(self, name: bytes) -> bool | None:
        asked_at, until, stands = self._answers.get(name, (0.0, 0.0, None))
        # Not before it was asked, either: a clock that was set back makes no answer live longer.
        return stands if asked_at <= self._clock() < until else None

    def _remember(self, name: bytes, asked_at: float, until: float, *, stands: bool) -> None:
        self._answers.pop(name, None)
        if until > asked_at:
            self._answers[name] = asked_at, until, stands
        if len(self._answers) > MAX_REMEMBERED:
            self._answers.popitem(last=False)

    async def _ask_once(self, name: bytes, text: str, token: AccessToken) -> bool:
        """The answer, asked for once for all who wait for it."""
        key = asyncio.get_running_loop(), name
        flight = self._flights.get(key)
        if flight is not None and not self._chosen.cache_seconds:
            # What is on its way may be older than a revocation that was acknowledged before this request: the next one.
            await asyncio.wait([flight])
            flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._ask(name, text, token))
            flight.add_done_callback(lambda landed: self._land(key, landed))
        return await asyncio.shield(flight)

    def _land(self, key: Flight, flight: asyncio.Task[bool]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # whoever waited may have gone away: then nobody else looks at it

    async def _ask(self, name: bytes, text: str, token: AccessToken) -> bool:
        # Counted from the question: what ended while the answer was on its way is not in it.
        asked_at = self._clock()
        found = await self._fetch(text, asked_at)
        if found.status != OK:
            raise RemoteError(self._refused(found.status))
        members = await self._members(found)
        until = min(asked_at + self._chosen.cache_seconds, token.expires_at)
        if members["active"]:
            until = min(until, self._check_meant(members, token))
        self._remember(name, asked_at, until, stands=members["active"])
        return members["active"] is True

    async def _fetch(self, text: str, now: float) -> Published:
        form, headers = [("token", text), ("token_type_hint", "access_token")], {"accept": _ACCEPT}
        async with self._issuer.asking() as http, asyncio.timeout(TIMEOUT_SECONDS):
            url = (await self._issuer.metadata(http)).endpoint("introspection_endpoint")
            if url is None:
                raise RemoteError(f"{self._issuer.identifier} names no introspection_endpoint")
            self._chosen.auth.apply(
                form, headers, client_id=self._chosen.client_id, issuer=self._issuer.identifier, now=now
            )
            return await self._issuer.post(http, url, form, headers=headers)

    async def _members(self, found: Published) -> dict[str, Any]:
        """What is told, if it can be believed.

        Raises:
            RemoteError: it is not signed where it must be, not by this issuer, for another, or no answer at all.
        """
        try:
            if found.media_type == introspection.MEDIA_TYPE:
                return await self._verify(found.body)
            if self._chosen.signed:
                raise ValueError("the answer is not signed")
            members = parse_object(found.body)
        except (Rejected, ValueError) as error:
            raise RemoteError(f"what {self._issuer.identifier} tells of a token cannot be believed: {error}") from None
        if found.media_type != "application/json" or not isinstance(members.get("active"), bool):
            raise RemoteError(f"what {self._issuer.identifier} tells of a token is no answer of RFC 7662")
        return members

    async def _verify(self, body: bytes) -> dict[str, Any]:
        verified = await self._keys.verify(compact.parse(body.decode("ascii"), limit=len(body)))
        # It was made for this question: one from a minute ago would be somebody's repetition.
        return introspection.verify(
            verified,
            issuer=self._issuer.identifier,
            audience=self._chosen.client_id,
            now=self._clock(),
            max_age=int(TIMEOUT_SECONDS),
        )

    def _check_meant(self, members: dict[str, Any], token: AccessToken) -> float:
        """Until when it says that the token lasts; what tells of another token, or of one for others, is not believed.

        Raises:
            RemoteError: it does.
        """
        try:
            exp = instant(members, "exp")
        except ValueError:
            exp = 0.0  # used once, and not kept
        aud = members.get("aud", self._audience)
        is_same = all(members.get(name, token.claims.get(name)) == token.claims.get(name) for name in _SAME)
        if not is_same or self._audience not in (aud if isinstance(aud, list) else [aud]):
            raise RemoteError(f"{self._issuer.identifier} told of another token than it was asked for")
        return token.expires_at if exp is None else exp

    def _refused(self, status: int) -> str:
        told = f"the introspection endpoint of {self._issuer.identifier} answered {status}"
        if status not in _REFUSALS:
            return told
        return (
            f"{told}: may {self._chosen.client_id!r} introspect for {self._audience!r}, and is its key the right one?"
        )
