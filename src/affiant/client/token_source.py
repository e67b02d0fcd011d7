"""Cache tokens, and request each of them once, however many callers need it.

Callers may be threads or event loops: they share a concurrent Future, made under a lock that is never held during a
request. The request runs in a thread of its own. So a cancelled caller cancels no other, and no caller waits for an
event loop, which may be stopped, closed or blocked.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future

from affiant.client.token import LONGEST_LIFETIME, Token, TokenKey
from affiant.errors import Refused
from affiant.oauth.token import TokenResponse

UNKNOWN_LIFETIME = 300  # seconds, if the server names none or an impossible one
BACKOFF_SECONDS = 5.0  # after a failed early renewal
REFUSED_SECONDS = 5.0  # for which a refused client sends no request: a wrong key must not cause a flood


class TokenSource:
    """The tokens of one service."""

    def __init__(self, fetch: Callable[[TokenKey], TokenResponse], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[TokenKey, Token] = {}
        self._in_flight: dict[TokenKey, Future[Token]] = {}
        self._refused: dict[TokenKey, tuple[float, Refused]] = {}
        self._quiet_until: dict[TokenKey, float] = {}

    def get(self, key: TokenKey) -> Token:
        """Return the token from the cache or the server; block while it is requested."""
        found = self._find(key)
        return found if isinstance(found, Token) else found.result()

    async def aget(self, key: TokenKey) -> Token:
        found = self._find(key)
        if isinstance(found, Token):
            return found
        return await asyncio.shield(asyncio.wrap_future(found))

    def forget(self, key: TokenKey, value: str) -> None:
        """Drop a token that an API refused."""
        with self._lock:
            token = self._tokens.get(key)
            if token is not None and token.value == value:
                del self._tokens[key]

    def _find(self, key: TokenKey) -> Token | Future[Token]:
        now = self._clock()
        with self._lock:
            token = self._tokens.get(key)
            good = token is not None and token.is_good(now)
            if token is not None and good and now < max(token.renew_at, self._quiet_until.get(key, 0.0)):
                return token
            until, refused = self._refused.get(key, (0.0, None))
            if refused is not None and now < until:
                raise _copy(refused)
            future = self._in_flight.get(key)
            is_new = future is None
            if future is None:
                future = self._in_flight[key] = Future()
        if is_new:
            self._begin(key, future)
        # During an early renewal the old token is still good.
        return token if token is not None and good else future

    def _begin(self, key: TokenKey, future: Future[Token]) -> None:
        try:
            threading.Thread(target=self._request, args=(key, future), daemon=True).start()
        except RuntimeError as error:  # the system starts no more threads
            self._fail(key, future, error)

    def _request(self, key: TokenKey, future: Future[Token]) -> None:
        try:
            asked_at = self._clock()  # before the request: a slow response must not lengthen the token's life
            token = _token(self._fetch(key), asked_at)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers must get it
            self._fail(key, future, error)
            return
        with self._lock:
            del self._in_flight[key]
            self._refused.pop(key, None)
            self._quiet_until.pop(key, None)
            self._tokens[key] = token
        future.set_result(token)

    def _fail(self, key: TokenKey, future: Future[Token], error: BaseException) -> None:
        with self._lock:
            del self._in_flight[key]
            # Until then a token that is still good is returned without another attempt to renew it.
            self._quiet_until[key] = self._clock() + BACKOFF_SECONDS
            if isinstance(error, Refused) and error.error == "invalid_client":
                self._refused[key] = (self._clock() + REFUSED_SECONDS, error)
        future.set_exception(error)


def _copy(error: Refused) -> Refused:
    """Return the same refusal without the tracebacks of earlier callers."""
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
        # Renewed after about three quarters of its life, at another moment in each process.
        renew_at=now + life * random.uniform(0.7, 0.8),  # noqa: S311 - jitter
        leeway=min(30.0, life / 10),  # less for short tokens, so that they are cached too
    )
