"""Cache tokens, and request each of them once, however many callers need it.

Callers may be threads or event loops: they share a concurrent Future, made under a lock that is never held during a
request. The request runs in a thread of its own. So a cancelled caller cancels no other, and no caller waits for an
event loop, which may be stopped, closed or blocked.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from affiant.client.cache.breaker import Breaker, Change, copied
from affiant.client.cache.stores.kept import CLOCK_SECONDS, LONGEST_LIFETIME
from affiant.client.token import Token, TokenKey
from affiant.errors import Refused, RemoteError
from affiant.system import forks

if TYPE_CHECKING:  # slow to load, and the first request needs them
    from concurrent.futures import Future

    from affiant.client.cache.sharing import Sharing
    from affiant.client.events import Announcer
    from affiant.oauth.token import TokenResponse

UNKNOWN_LIFETIME = 300  # seconds, if the server names none or an impossible one
BACKOFF_SECONDS = 5.0  # after a failed early renewal, but no more than a quarter of what is left
# For which a refused client sends no request, and a token that replaced a refused one is not replaced: neither a wrong
# key nor an API that refuses every token must cause a flood.
REFUSED_SECONDS = 5.0
# All other refusals are permanent (RFC 6749 section 5.2): the same request would get the same answer.
_PASSING = frozenset(
    {"temporarily_unavailable", "server_error", "slow_down", "authorization_pending", "use_dpop_nonce"}
)
_TOO_MANY, _SERVER_ERROR = 429, 500
# Of one service, with what is known about refusals: more would be a leak, as of a program that puts an id into a scope.
MOST_TOKENS = 1024
Fetch = Callable[[TokenKey], "tuple[TokenResponse, float]"]


class _Entry:
    """The state of one token."""

    __slots__ = (
        "forgotten_at",
        "got_at",
        "in_flight",
        "quiet_until",
        "refusal",
        "refused_at",
        "refused_token",
        "token",
        "used_at",
    )

    def __init__(self) -> None:
        self.token: Token | None = None
        self.in_flight: Future[Token] | None = None
        self.refusal: Refused | None = None
        self.refused_token: str | None = None
        self.refused_at = 0.0
        self.got_at = 0.0
        self.quiet_until = 0.0
        self.forgotten_at = float("-inf")
        self.used_at = 0.0


class TokenSource:
    """The tokens of one service.

    `fetch` requests one, and also returns when the request that got it was sent. `sharing`
    reads those of other processes.
    """

    def __init__(
        self,
        fetch: Fetch,
        clock: Callable[[], float],
        announce: Announcer | None = None,
        sharing: Sharing | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._fetch = fetch
        self._sharing = sharing
        self._clock = clock
        self._lock = forks.Lock()
        self._entries: dict[TokenKey, _Entry] = {}
        self._breaker = breaker or Breaker(clock)
        self._changes = deque[Change](maxlen=16)  # of the breaker, that are not reported yet
        self._announce = announce
        forks.watch(self)

    def after_fork(self) -> None:
        """Request again what the parent was requesting: its thread does not run in this process."""
        for entry in self._entries.values():
            entry.in_flight = None

    def get(self, key: TokenKey) -> Token:
        """Return the token from the cache or the server; block while it is requested."""
        found = self._find(key)
        return found if isinstance(found, Token) else found.result()

    async def aget(self, key: TokenKey) -> Token:
        found = self._find(key)
        if isinstance(found, Token):
            return found
        import asyncio  # noqa: PLC0415 - slow to load, and this caller has loaded it

        return await asyncio.shield(asyncio.wrap_future(found))

    def forget(self, key: TokenKey, value: str) -> bool:
        """Drop a token that an API refused. Return whether there is another one, or will be."""
        now = self._clock()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.token is None or entry.token.value != value:  # another caller was quicker
                return True
            if 0 <= now - entry.forgotten_at < REFUSED_SECONDS:
                return False
            entry.forgotten_at, entry.refused_token, entry.token = now, value, None
        if self._sharing is not None:
            # On a thread: the caller may be an event loop. Where the system starts none, the next request removes it.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._sharing.forget, args=(key, value), daemon=True).start()
        return True

    def _find(self, key: TokenKey) -> Token | Future[Token]:
        now = self._clock()
        entry = self._entries.get(key)
        if entry is not None:  # without the lock, which a thousand callers would wait for
            token = entry.token
            if (
                token is not None
                and entry.got_at <= now < max(token.renew_at, entry.quiet_until)
                and token.is_good(now)
            ):
                entry.used_at = now
                return token
        with self._lock:
            return self._find_or_begin(key, now)

    def _find_or_begin(self, key: TokenKey, now: float) -> Token | Future[Token]:
        entry = self._entries.get(key) or self._add(key, now)
        entry.used_at, token = now, entry.token
        # A clock that was set back says nothing about the end of a token that came before.
        good = token if token is not None and token.is_good(now) and entry.got_at <= now else None
        if good is not None and now < max(good.renew_at, entry.quiet_until):  # it came while this caller waited
            return good
        if entry.refusal is not None and 0 <= now - entry.refused_at < REFUSED_SECONDS:
            raise copied(entry.refusal)
        future = entry.in_flight
        if future is None:
            try:
                self._note(self._breaker.check())
            except RemoteError:
                if good is not None:
                    return good
                raise
            future = self._begin(key, entry)
        # During an early renewal the old token is still good.
        return good if good is not None else future

    def _add(self, key: TokenKey, now: float) -> _Entry:
        if len(self._entries) >= MOST_TOKENS:
            idle = [
                (one.token is not None and one.token.is_good(now), one.used_at, name)
                for name, one in self._entries.items()
                if one.in_flight is None
            ]
            # Many at once, so that it is rarely done: the ended ones first, then what was not used for longest.
            for *_, name in sorted(idle, key=lambda one: one[:2])[: MOST_TOKENS // 8]:
                del self._entries[name]
        entry = self._entries[key] = _Entry()
        return entry

    def _begin(self, key: TokenKey, entry: _Entry) -> Future[Token]:
        from concurrent.futures import Future  # noqa: PLC0415 - slow to load

        future = entry.in_flight = Future[Token]()
        try:
            # In the context of this caller: a span of the token request is then a child of its span.
            run = contextvars.copy_context().run
            words = self._request, key, entry, future
            threading.Thread(target=run, args=words, name="affiant token_request", daemon=True).start()
        except RuntimeError as error:  # the system starts no more threads
            self._fail(entry, error)
            future.set_exception(error)
        return future

    def _request(self, key: TokenKey, entry: _Entry, future: Future[Token]) -> None:
        seen: list[RemoteError | None] = []
        try:
            self._report()
            token = self._obtain(key, entry, seen)
        except BaseException as error:  # noqa: BLE001 - every caller must get it
            with self._lock:
                self._fail(entry, error)
            try:
                self._report()
            finally:
                future.set_exception(error)
            return
        with self._lock:
            entry.got_at = self._clock() - CLOCK_SECONDS
            entry.in_flight, entry.refusal, entry.quiet_until, entry.token = None, None, 0.0, token
            self._judge(seen)
        try:
            self._report()
        finally:
            future.set_result(token)

    def _report(self) -> None:
        """Report what the breaker did. Order: without the lock, since the hook may ask this service for a token."""
        while self._announce is not None:
            try:
                change = self._changes.popleft()
            except IndexError:
                return
            self._announce(change.name, seconds=change.seconds)

    def _obtain(self, key: TokenKey, entry: _Entry, seen: list[RemoteError | None]) -> Token:
        """Return a token of another process, or a new one; `seen` gets the server's failure, or None for a success."""

        def request() -> Token:
            try:
                # Counted from the request: a slow response must not lengthen the token's life.
                token = _token(*self._fetch(key))
            except RemoteError as error:
                seen.append(error)
                raise
            seen.append(None)
            return token

        if self._sharing is None:
            return request()
        return self._sharing.obtain(key, request, refused=entry.refused_token)

    def _judge(self, seen: list[RemoteError | None]) -> None:
        """Note how the server is. A token of another process says nothing of it, nor one that a failure left."""
        for error in seen[-1:]:
            if error is None:
                self._note(self._breaker.succeed())
            elif not isinstance(error, Refused) or error.status >= _SERVER_ERROR:
                self._note(self._breaker.fail(error))

    def _fail(self, entry: _Entry, error: BaseException) -> None:
        entry.in_flight = None
        # Until then a token that is still good is returned without another attempt to renew it.
        now, token = self._clock(), entry.token
        left = max(0.0, token.expires_at - now) if token is not None else math.inf
        entry.quiet_until = now + min(BACKOFF_SECONDS, left / 4)
        if isinstance(error, Refused) and _is_permanent(error):
            entry.refusal, entry.refused_at = error, now
        if isinstance(error, Refused) and error.status < _SERVER_ERROR and error.retry_after is None:
            self._note(self._breaker.succeed())  # it works, and refuses this request
        elif isinstance(error, RemoteError):
            self._note(self._breaker.fail(error))

    def _note(self, change: Change | None) -> None:
        if change is not None:
            self._changes.append(change)


def _is_permanent(refusal: Refused) -> bool:
    return refusal.error not in _PASSING and refusal.status < _SERVER_ERROR and refusal.status != _TOO_MANY


def _token(response: TokenResponse, sent_at: float) -> Token:
    import random  # noqa: PLC0415 - slow to load

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
