"""Cache tokens, and request each of them once, however many callers need it.

Callers may be threads or event loops: they share a concurrent Future, made under a lock that is never held during a
request. The request runs in a thread of its own. So a cancelled caller cancels no other, and no caller waits for an
event loop, which may be stopped, closed or blocked.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future

from affiant.client.cache.breaker import Breaker, copied
from affiant.client.token import LONGEST_LIFETIME, Token, TokenKey
from affiant.errors import Refused, RemoteError
from affiant.oauth.token import TokenResponse

UNKNOWN_LIFETIME = 300  # seconds, if the server names none or an impossible one
BACKOFF_SECONDS = 5.0  # after a failed early renewal, but no more than a quarter of what is left
# For which a refused client sends no request, and a token that replaced a refused one is not replaced: neither a wrong
# key nor an API that refuses every token must cause a flood.
REFUSED_SECONDS = 5.0
# RFC 6749 section 5.2, RFC 8707 section 2: the same request would get the same answer.
_PERMANENT = frozenset(
    {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target"}
)
_SERVER_ERROR = 500
Fetch = Callable[[TokenKey], tuple[TokenResponse, float]]


class TokenSource:
    """The tokens of one service. `fetch` requests one, and also returns when the request that got it was sent."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[TokenKey, Token] = {}
        self._in_flight: dict[TokenKey, Future[Token]] = {}
        self._refused: dict[TokenKey, tuple[float, Refused]] = {}
        self._quiet_until: dict[TokenKey, float] = {}
        self._forgotten_at: dict[TokenKey, float] = {}
        self._breaker = Breaker(clock)

    def get(self, key: TokenKey) -> Token:
        """Return the token from the cache or the server; block while it is requested."""
        found = self._find(key)
        return found if isinstance(found, Token) else found.result()

    async def aget(self, key: TokenKey) -> Token:
        found = self._find(key)
        if isinstance(found, Token):
            return found
        return await asyncio.shield(asyncio.wrap_future(found))

    def forget(self, key: TokenKey, value: str) -> bool:
        """Drop a token that an API refused. Return whether there is another one, or will be."""
        now = self._clock()
        with self._lock:
            token = self._tokens.get(key)
            if token is None or token.value != value:  # another caller was quicker
                return True
            if 0 <= now - self._forgotten_at.get(key, float("-inf")) < REFUSED_SECONDS:
                return False
            self._forgotten_at[key] = now
            del self._tokens[key]
            return True

    def _find(self, key: TokenKey) -> Token | Future[Token]:
        now = self._clock()
        with self._lock:
            token = self._tokens.get(key)
            good = token is not None and token.is_good(now)
            if token is not None and good and now < max(token.renew_at, self._quiet_until.get(key, 0.0)):
                return token
            until, refused = self._refused.get(key, (0.0, None))
            if refused is not None and now < until:
                raise copied(refused)
            future = self._in_flight.get(key)
            is_new = future is None
            if future is None:
                try:
                    self._breaker.check()
                except RemoteError:
                    if token is not None and good:
                        return token
                    raise
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
            # Counted from the request: a slow response must not lengthen the token's life.
            token = _token(*self._fetch(key))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers must get it
            self._fail(key, future, error)
            return
        with self._lock:
            del self._in_flight[key]
            self._refused.pop(key, None)
            self._quiet_until.pop(key, None)
            self._breaker.succeed()
            self._tokens[key] = token
        future.set_result(token)

    def _fail(self, key: TokenKey, future: Future[Token], error: BaseException) -> None:
        with self._lock:
            del self._in_flight[key]
            # Until then a token that is still good is returned without another attempt to renew it.
            now, token = self._clock(), self._tokens.get(key)
            left = max(0.0, token.expires_at - now) if token is not None else math.inf
            self._quiet_until[key] = now + min(BACKOFF_SECONDS, left / 4)
            if isinstance(error, Refused) and error.error in _PERMANENT:
                self._refused[key] = (now + REFUSED_SECONDS, error)
            if isinstance(error, Refused) and error.status < _SERVER_ERROR and error.retry_after is None:
                self._breaker.succeed()  # it works, and refuses this request
            elif isinstance(error, RemoteError):
                self._breaker.fail(error)
        future.set_exception(error)


def _token(response: TokenResponse, sent_at: float) -> Token:
    life = response.expires_in if response.expires_in is not None else UNKNOWN_LIFETIME
    life = max(0, life) if life <= LONGEST_LIFETIME else UNKNOWN_LIFETIME
    return Token(
        value=response.access_token,
        expires_at=sent_at + life,
        scope=response.scope,
        token_type=response.token_type,
        refresh_token=response.refresh_token,
        # Renewed after about three quarters of its life, at another moment in each process.
        renew_at=sent_at + life * random.uniform(0.7, 0.8),  # noqa: S311 - jitter
        leeway=min(30.0, life / 10),  # less for short tokens, so that they are cached too
    )
