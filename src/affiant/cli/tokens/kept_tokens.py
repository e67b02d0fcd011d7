"""The tokens that `affiant token` and `affiant call` keep between runs.

While a kept token is valid, neither cryptography nor HTTP is loaded; once a minute the server is asked whether it was
revoked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import click

from affiant.client.cache.sharing import Sharing
from affiant.client.cache.stores.folder import FileTokenStore
from affiant.client.cache.stores.kept import folder, names_of
from affiant.client.credentials.file import Credentials
from affiant.client.token import Token, TokenKey
from affiant.errors import Error

no_cache_option: Callable[[Any], Any] = click.option(
    "--no-cache", is_flag=True, help="ask for a new token, and do not keep it"
)


class KeptTokens:
    """The tokens of one credentials file; a kept one is used if it lives for `min_ttl` more seconds."""

    def __init__(self, found: Credentials, *, min_ttl: float = 0.0, keep: bool = True) -> None:
        self._found = found
        self._min_ttl = min_ttl
        self._keep = keep

    def get(self, key: TokenKey) -> Token:
        """Return a kept token, or a new one; if the folder cannot be used, a new one each time."""
        sharing = self._sharing()
        fetch = partial(self._fetch, key)
        return sharing.obtain(key, fetch) if sharing is not None else fetch()

    async def aget(self, key: TokenKey) -> Token:
        from asyncio import to_thread

        return await to_thread(self.get, key)

    def forget(self, key: TokenKey, value: str) -> bool:
        """Do not use this token again: an API refused it."""
        if (sharing := self._sharing()) is not None:
            sharing.forget(key, value)
        return True

    def _sharing(self) -> Sharing | None:
        if not self._keep:
            return None
        place = folder("tokens")
        if place is None:
            self._complain("tokens cannot be kept: neither XDG_CACHE_HOME nor HOME is set")
            return None
        return Sharing(
            FileTokenStore(place),
            partial(_names, self._found),
            time.time,
            complain=lambda error: self._complain(
                f"tokens cannot be kept in {place}: {getattr(error, 'strerror', None) or error}"
            ),
            min_ttl=self._min_ttl,
            is_revoked=self._is_revoked,
        )

    def _complain(self, why: str) -> None:
        self._keep = False
        print(f"affiant: {why}: got a new token (--no-cache silences this)", file=sys.stderr)

    def _fetch(self, key: TokenKey) -> Token:
        from affiant.client.identity import Service

        # A new one each time: a Service would return a forgotten token from its memory.
        token = Service.from_credentials(self._found).token(key.resource, key.scope)
        return replace(token, renew_at=0.0)  # a command uses it until its end

    def _is_revoked(self, token: Token) -> bool:
        """Whether the token is in the server's feed of revocations.

        False if the server has no feed or does not answer: an API still rejects a revoked token, and scripts continue
        while the server restarts.
        """
        from affiant.client.protocol import flow, transport
        from affiant.oauth.metadata import Reach
        from affiant.system.network import http_client

        mine = self._found
        if mine.token_endpoint is not None:  # a server without metadata names no feed
            return False
        try:
            way = Reach.of(mine.issuer, mine.reach, mine.unsafe_reach)
            with http_client() as http:
                asking = flow.find_revoked(mine.issuer, token.value, clock=time.time, reach=way)
                return transport.run(asking, http)
        except (Error, ValueError):
            return False


def _names(found: Credentials, key: TokenKey) -> tuple[str, ...]:
    members = {name: getattr(found, name) for name in found.__dataclass_fields__}
    return names_of(members, found.key_mark, key.resource, key.scope)
