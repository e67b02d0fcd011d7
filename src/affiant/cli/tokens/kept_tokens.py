"""The tokens that `affiant token` and `affiant call` keep between runs.

While a kept token is valid, neither cryptography nor HTTP is loaded; once a minute the server is asked whether it was
revoked.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from affiant.client.credentials import Credentials
from affiant.client.store import CannotKeep, FileTokenStore
from affiant.client.token import Token, TokenKey

_PUBLIC = ("kty", "crv", "x", "y", "n", "e", "pub")  # the members of a private JWK that are no secret

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
        fetch = partial(self._fetch, key)
        if not self._keep:
            return fetch()
        try:
            names, now = self._names(key), time.time()
            return _store().token(names, fetch, now=now, min_ttl=self._min_ttl, is_revoked=self._is_revoked)
        except CannotKeep as error:
            self._keep = False
            print(f"affiant: {error}: got a new token (--no-cache silences this)", file=sys.stderr)
            return fetch()

    async def aget(self, key: TokenKey) -> Token:
        from asyncio import to_thread

        return await to_thread(self.get, key)

    def forget(self, key: TokenKey, value: str) -> None:
        """Do not use this token again: an API refused it."""
        if self._keep:
            _store().forget(self._names(key), value)

    def _fetch(self, key: TokenKey) -> Token:
        from affiant.client.identity import Service

        # A new one each time: a Service would return a forgotten token from its memory.
        return Service.from_credentials(self._found).token(key.resource, key.scope)

    def _is_revoked(self, token: Token) -> bool:
        from affiant.cli.tokens import revoked

        return revoked.is_revoked(self._found.issuer, token.value)

    def _names(self, key: TokenKey) -> tuple[str, ...]:
        """Return the client and what it asks for; a new key, as after a new registration, is another client."""
        mine = self._found
        public = {member: mine.key[member] for member in _PUBLIC if member in mine.key} if mine.key else {}
        shown = json.dumps(public, sort_keys=True)
        who: tuple[str, ...] = (mine.issuer, mine.client_id, mine.auth_method, mine.kid or "", shown)
        if mine.certificate is not None:  # a token may be bound to it
            who = (*who, mine.certificate)
        return (*who, key.resource or mine.resource or "", key.scope or mine.scope or "")


def _store() -> FileTokenStore:
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # A relative path must be ignored, says the XDG Base Directory Specification.
        base = Path(named) if named.startswith("/") else Path.home() / ".cache"
    except RuntimeError:
        raise CannotKeep("tokens cannot be kept: neither XDG_CACHE_HOME nor HOME is set") from None
    return FileTokenStore(base / "affiant" / "tokens")
