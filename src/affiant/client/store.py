"""Tokens that runs of the command line share: one small file each, private to its owner."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from affiant.client.token import LONGEST_LIFETIME, Token
from affiant.errors import LocalError

_MAX_BYTES = 65_536
CHECK_SECONDS = 60.0  # between two checks whether a kept token was revoked


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
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
                return None
            return _parse(file.read(_MAX_BYTES))
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
