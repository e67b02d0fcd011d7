"""The tokens that `affiant token` and `affiant call` keep between runs.

While a kept token is valid, neither cryptography nor HTTP is loaded; once a minute the server is asked whether it was
revoked.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from affiant.client.credentials.file import Credentials, read_own
from affiant.client.token import LONGEST_LIFETIME, Token, TokenKey
from affiant.errors import Error, LocalError

no_cache_option: Callable[[Any], Any] = click.option(
    "--no-cache", is_flag=True, help="ask for a new token, and do not keep it"
)
_MAX_BYTES = 65_536
CHECK_SECONDS = 60.0  # between two checks whether a kept token was revoked


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

    def forget(self, key: TokenKey, value: str) -> bool:
        """Do not use this token again: an API refused it."""
        if self._keep:
            _store().forget(self._names(key), value)
        return True

    def _fetch(self, key: TokenKey) -> Token:
        from affiant.client.identity import Service

        # A new one each time: a Service would return a forgotten token from its memory.
        return Service.from_credentials(self._found).token(key.resource, key.scope)

    def _is_revoked(self, token: Token) -> bool:
        """Whether the token is in the server's feed of revocations.

        False if the server has no feed or does not answer: an API still rejects a revoked token, and scripts continue
        while the server restarts.
        """
        from affiant.client.protocol import flow, transport
        from affiant.system.network import http_client

        try:
            with http_client() as http:
                return transport.run(flow.find_revoked(self._found.issuer, token.value, clock=time.time), http)
        except (Error, ValueError):
            return False

    def _names(self, key: TokenKey) -> tuple[str, ...]:
        """Return the client and what it asks for; a new key, as after a new registration, is another client."""
        mine = self._found
        who: tuple[str, ...] = (mine.issuer, mine.client_id, mine.auth_method, mine.kid or "", mine.key_mark)
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


class CannotKeep(LocalError):
    """The folder cannot be used. No token was requested."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A kept token, and when the server last said that it is not revoked."""

    token: Token
    checked_at: float

    def serves(self, now: float, min_ttl: float) -> bool:
        # A longer lifetime than that of any token: not written by affiant.
        return self.token.is_good(now) and now + min_ttl <= self.token.expires_at <= now + LONGEST_LIFETIME

    def is_checked(self, now: float) -> bool:
        return 0 <= now - self.checked_at < CHECK_SECONDS


@dataclass(frozen=True, slots=True)
class FileTokenStore:
    """Access tokens in a folder. Refresh tokens are not kept: a stolen one is worth more than a saved request."""

    folder: Path  # created with mode 0700

    def token(
        self,
        names: tuple[str, ...],
        fetch: Callable[[], Token],
        *,
        now: float,
        min_ttl: float = 0.0,
        is_revoked: Callable[[Token], bool] | None = None,
    ) -> Token:
        """Return the token kept under these names, or a new one. Processes that need the same one make one request.

        A kept token is returned if it lives for `min_ttl` seconds more. `is_revoked` asks the server about it, at most
        once in CHECK_SECONDS.
        """
        path = self.folder / digest(names)
        kept = _read(path)
        if kept is not None and kept.serves(now, min_ttl) and (is_revoked is None or kept.is_checked(now)):
            return kept.token
        with self._locked(path):
            kept = _read(path)  # another process may have fetched it while this one waited
            found = kept.token if kept is not None and kept.serves(now, min_ttl) else None
            if found is None or kept is None:
                found = fetch()
            elif is_revoked is not None and not kept.is_checked(now):
                if is_revoked(found):
                    _remove(path)  # before the request: the server may refuse the client now
                    found = fetch()
            else:
                return found
            _write(path, found, now)
        return found

    def forget(self, names: tuple[str, ...], value: str) -> None:
        """Drop a token that an API refused, unless another process has replaced it."""
        path = self.folder / digest(names)
        with suppress(CannotKeep, OSError), self._locked(path):
            kept = _read(path)
            if kept is not None and kept.token.value == value:
                path.unlink()

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Lock this token for all processes, also during a request, which the others then need not make."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            # Order: the lock file is never removed, since a process may wait for it.
            descriptor = os.open(path.with_suffix(".lock"), flags, 0o600)
        except OSError as error:
            raise self._cannot(error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:  # a file system without locks
                raise self._cannot(error) from error
            yield
        finally:
            os.close(descriptor)

    def _cannot(self, error: OSError) -> CannotKeep:
        return CannotKeep(f"tokens cannot be kept in {self.folder}: {error.strerror}")


def digest(names: tuple[str, ...]) -> str:
    """Return SHA-256 of the names, each after its length, so that no two tuples have the same bytes."""
    parts = [name.encode() for name in names]
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()


def _read(path: Path) -> _Kept | None:
    """Return the token in the file; None if the file is not private, whole and in affiant's format."""
    try:
        return _parse(read_own(path, _MAX_BYTES))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _parse(text: bytes) -> _Kept:
    members = json.loads(text)
    value, scope, kind = members["value"], members["scope"], members["token_type"]
    if not isinstance(value, str) or not isinstance(kind, str) or not isinstance(scope, str | None):
        raise TypeError("not a token file")
    leeway = max(0.0, float(members["leeway"]))
    token = Token(value, float(members["expires_at"]), scope, token_type=kind, leeway=leeway)
    return _Kept(token, float(members.get("checked_at", 0.0)))


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _write(path: Path, token: Token, now: float) -> None:
    """Write the file. If that fails, the token is used without being kept."""
    members = {
        "value": token.value,
        "expires_at": token.expires_at,
        "scope": token.scope,
        "token_type": token.token_type,
        "leeway": token.leeway,
        "checked_at": now,
    }
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with suppress(OSError):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(members, file)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
