"""A token when it is needed: kept while it is good, and asked for once however many want it.

Single flight works over threads and event loops alike: the flight is a concurrent Future, made under a lock that is
never held while anything is sent. It runs on a thread of its own, so that who is cancelled takes nobody along, and so
that nobody waits for an event loop: one that is stopped, closed, or itself blocked by who waits would never land it.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future

from affiant.client.token import LONGEST_LIFETIME, Token
from affiant.errors import Refused
from affiant.oauth.token import TokenResponse

UNKNOWN_LIFETIME = 300  # seconds, where the server did not say or said nonsense
BACKOFF_SECONDS = 5.0  # after a renewal ahead of time that failed
REFUSED_SECONDS = 5.0  # how long a refused client is not asked for again: a wrong key must not become a storm
Key = tuple[str | None, ...]  # resource, scope, and authorization_details as JSON where there are any


class TokenSource:
    """The tokens of one service, by what they were asked for with."""

    def __init__(self, fetch: Callable[[Key], TokenResponse], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[Key, Token] = {}
        self._flights: dict[Key, Future[Token]] = {}
        self._refused: dict[Key, tuple[float, Refused]] = {}
        self._quiet_until: dict[Key, float] = {}

    def get(self, key: Key) -> Token:
        """The token, from the cache or from the server; blocks."""
        found = self._find(key)
        return found if isinstance(found, Token) else found.result()

    async def aget(self, key: Key) -> Token:
        """The token, without blocking the event loop."""
        found = self._find(key)
        if isinstance(found, Token):
            return found
        return await asyncio.shield(asyncio.wrap_future(found))

    def forget(self, key: Key, value: str) -> None:
        """Do not use this token again: an API refused it."""
        with self._lock:
            token = self._tokens.get(key)
            if token is not None and token.value == value:
                del self._tokens[key]

    def _find(self, key: Key) -> Token | Future[Token]:
        now = self._clock()
        with self._lock:
            token = self._tokens.get(key)
            good = token is not None and token.is_good(now)
            if token is not None and good and now < token.renew_at:
                return token
            until, refused = self._refused.get(key, (0.0, None))
            if token is not None and good and now < self._quiet_until.get(key, 0.0):
                return token
            if refused is not None and now < until:
                raise _again(refused)
            flight = self._flights.get(key)
            takes_off = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if takes_off:
            self._take_off(key, flight)
        # While it is renewed ahead of its end, the old one is still good.
        return token if token is not None and good else flight

    def _take_off(self, key: Key, flight: Future[Token]) -> None:
        try:
            threading.Thread(target=self._fly, args=(key, flight), daemon=True).start()
        except RuntimeError as error:  # no thread to be had: nobody may wait for this flight
            self._crash(key, flight, error)

    def _fly(self, key: Key, flight: Future[Token]) -> None:
        try:
            asked_at = self._clock()  # before it is sent: a slow answer must not lengthen the token's life
            token = _token(self._fetch(key), asked_at)
        except BaseException as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            self._crash(key, flight, error)
            return
        with self._lock:
            del self._flights[key]
            self._refused.pop(key, None)
            self._quiet_until.pop(key, None)
            self._tokens[key] = token
        flight.set_result(token)

    def _crash(self, key: Key, flight: Future[Token], error: BaseException) -> None:
        with self._lock:
            del self._flights[key]
            # A token that is still good is served meanwhile, without a request at every call.
            self._quiet_until[key] = self._clock() + BACKOFF_SECONDS
            if isinstance(error, Refused) and error.error == "invalid_client":
                self._refused[key] = (self._clock() + REFUSED_SECONDS, error)
        flight.set_exception(error)


def _again(error: Refused) -> Refused:
    """The same refusal, without the traceback of those who got it before."""
    return Refused(
        error.error,
        description=error.description,
        trace_id=error.trace_id,
        status=error.status,
        error_uri=error.error_uri,
    )


def _token(response: TokenResponse, now: float) -> Token:
    life = response.expires_in if response.expires_in is not None else UNKNOWN_LIFETIME
    life = max(0, life) if life <= LONGEST_LIFETIME else UNKNOWN_LIFETIME
    return Token(
        value=response.access_token,
        expires_at=now + life,
        scope=response.scope,
        token_type=response.token_type,
        refresh_token=response.refresh_token,
        # Renewed at about three quarters of its life, each process at another moment.
        renew_at=now + life * random.uniform(0.7, 0.8),  # noqa: S311 - jitter
        # A tenth of the life at most, so that short tokens are kept too.
        leeway=min(30.0, life / 10),
    )
