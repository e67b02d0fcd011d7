"""Share tokens with other processes through a store: the first that needs one requests it, the others read it.

A failure of the store never reaches a caller: a token that was requested is returned, whether it was kept or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from affiant.client.cache.stores import kept
from affiant.client.cache.stores.store import TokenStore
from affiant.client.platforms.failure import PlatformError
from affiant.client.token import Token, TokenKey
from affiant.errors import RemoteError

LOCK_SECONDS = 30.0  # to wait for another process that requests the token; then this one requests it too
_LATER_SECONDS = 5.0  # until a failed renewal is tried again, but no more than a quarter of what is left
Names = Callable[[TokenKey], tuple[str, ...]]


class Sharing:
    """The tokens of one client in a store.

    Args:
        store: of tokens.
        names: the client, its key and what it asks for: a token is found under exactly these.
        clock: seconds since the epoch.
        complain: called with what the store raised.
        min_ttl: seconds that a kept token must have left.
        is_revoked: asks the server about a kept token, once in kept.CHECK_SECONDS.
    """

    def __init__(
        self,
        store: TokenStore,
        names: Names,
        clock: Callable[[], float],
        *,
        complain: Callable[[Exception], None],
        min_ttl: float = 0.0,
        is_revoked: Callable[[Token], bool] | None = None,
    ) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._complain = complain
        self._min_ttl = min_ttl
        self._is_revoked = is_revoked

    def obtain(self, key: TokenKey, request: Callable[[], Token], *, refused: str | None = None) -> Token:
        """Return the kept token, or a new one: not the one that an API refused."""
        asked = _Asked(request)
        try:
            return self._through(kept.digest(self._names(key)), asked, refused)
        except PlatformError:  # without its token this process does not know which kept ones are its own
            raise
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            if asked.error is None:
                self._complain(error)
        if asked.error is not None:
            raise asked.error
        return asked.token or request()

    def forget(self, key: TokenKey, value: str) -> None:
        """Remove a token that an API refused, for all processes, unless another one has replaced it."""
        try:
            name = kept.digest(self._names(key))
            with self._store.lock(name, LOCK_SECONDS):
                found = self._read(name)
                if found is not None and found["value"] == value:
                    self._store.remove(name)
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._complain(error)

    def _through(self, name: str, asked: _Asked, refused: str | None) -> Token:
        found = self._read(name)
        if found is not None and self._may_use(found, refused) and not self._must_check(found):
            return _token(found)
        with self._store.lock(name, LOCK_SECONDS):
            found = self._read(name)  # another process may have requested it while this one waited
            if found is not None and not self._may_serve(found, refused):
                # Before the request, which may fail: no other process shall find it.
                self._store.remove(name)
                found = None
            if found is not None and self._may_use(found, refused):
                if not self._must_check(found):
                    return _token(found)
                if not self._is_ended(name, found):
                    return self._keep(name, _token(found))
                found = None
            is_long_enough = found is not None and kept.serves(found, self._clock(), self._min_ttl)
            return self._request(name, asked, found if is_long_enough else None)

    def _request(self, name: str, asked: _Asked, found: dict[str, Any] | None) -> Token:
        try:
            token = asked()
        except RemoteError:
            if found is None:
                raise
            # Still good, and only to be renewed: as with a token in memory, the renewal is tried again a little later.
            now = self._clock()
            asked.error = None
            return _token({**found, "renew_at": now + min(_LATER_SECONDS, (found["expires_at"] - now) / 4)})
        return self._keep(name, token)

    def _keep(self, name: str, token: Token) -> Token:
        now = self._clock()
        if (ttl := token.expires_at - token.leeway - now) > 0:
            self._store.put(name, kept.build(token, checked_at=now), ttl)
        return token

    def _is_ended(self, name: str, found: dict[str, Any]) -> bool:
        if self._is_revoked is None or not self._is_revoked(_token(found)):
            return False
        self._store.remove(name)  # before the request: the server may refuse the client now
        return True

    def _read(self, name: str) -> dict[str, Any] | None:
        text = self._store.get(name)
        return kept.parse(text) if text is not None else None

    def _may_serve(self, found: dict[str, Any], refused: str | None) -> bool:
        return kept.serves(found, self._clock(), 0.0) and found["value"] != refused

    def _may_use(self, found: dict[str, Any], refused: str | None) -> bool:
        now = self._clock()
        is_due = 0 < found["renew_at"] <= now  # 0: never renewed before its end
        return self._may_serve(found, refused) and kept.serves(found, now, self._min_ttl) and not is_due

    def _must_check(self, found: dict[str, Any]) -> bool:
        return self._is_revoked is not None and not kept.is_checked(found, self._clock())


class _Asked:
    """A request that is made once, with what came of it."""

    def __init__(self, request: Callable[[], Token]) -> None:
        self._request = request
        self.token: Token | None = None
        self.error: Exception | None = None

    def __call__(self) -> Token:
        try:
            self.token = self._request()
        except Exception as error:
            self.error = error
            raise
        return self.token


def _token(found: dict[str, Any]) -> Token:
    return Token(
        found["value"],
        found["expires_at"],
        found["scope"],
        token_type=found["token_type"],
        renew_at=found["renew_at"],
        leeway=found["leeway"],
    )
