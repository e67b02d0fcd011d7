"""Tokens in Redis or Valkey, encrypted, for the processes of several machines."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

from affiant.client.cache.stores.encrypted import EncryptedStore
from affiant.client.cache.stores.locks import wait_for
from affiant.errors import LocalError

if TYPE_CHECKING:  # a program without this store never loads it
    from redis import Redis, RedisCluster

TIMEOUT_SECONDS = 0.8
PREFIX = "affiant:token:"
# Only by the holder of the lock: a process that slept through the end of its lock must not replace a newer token.
_PUT = "if redis.call('get', KEYS[2]) == ARGV[3] then return redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2]) end"
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"


class RedisStore(EncryptedStore):
    """Access tokens in a server that speaks the Redis protocol (``pip install affiant[redis]``).

    The server gets them encrypted. It may evict them, and lose them when it restarts: then they are requested again.

    Args:
        server: its URL (``rediss://user:password@redis.example:6379/0``), or a client: ``redis.Redis`` or
            ``redis.RedisCluster``, with timeouts below a second and without retries, which take seconds by default.
        key: of all processes that share the tokens, as of EncryptedStore.
        prefix: of its keys.

    Raises:
        LocalError: no such key or URL, an asynchronous client, or redis-py is not installed.
    """

    def __init__(self, server: str | Redis | RedisCluster, *, key: str | bytes, prefix: str = PREFIX) -> None:
        super().__init__(_Values(server, prefix), key=key)


class _Values:
    """Values in Redis, and locks that end by themselves."""

    def __init__(self, server: str | Redis | RedisCluster, prefix: str) -> None:
        self._client: Any = _connect(server) if isinstance(server, str) else server
        if not hasattr(self._client, "set") or hasattr(self._client, "__aenter__"):
            raise LocalError("RedisStore takes a URL, or a client of redis.Redis: not one of redis.asyncio")
        self._prefix = prefix
        self._held = threading.local()

    def __repr__(self) -> str:  # a client's may have the password
        return f"redis, {self._prefix}"

    def get(self, name: str) -> bytes | None:
        found = self._client.get(self._key(name))
        return found if isinstance(found, bytes) else None

    def put(self, name: str, value: bytes, ttl: float) -> None:
        owner = getattr(self._held, "owner", "")
        self._client.eval(_PUT, 2, self._key(name), self._lock_key(name), value, ceil(ttl * 1000), owner)

    def remove(self, name: str) -> None:
        self._client.delete(self._key(name))

    @contextmanager
    def lock(self, name: str, seconds: float) -> Iterator[None]:
        owner, key = secrets.token_hex(16), self._lock_key(name)
        wait_for(lambda: bool(self._client.set(key, owner, nx=True, px=ceil(seconds * 1000))), seconds)
        self._held.owner = owner
        try:
            yield
        finally:
            self._held.owner = ""
            self._client.eval(_RELEASE, 1, key, owner)

    def _key(self, name: str) -> str:
        return f"{self._prefix}{{{name}}}"  # in braces: a cluster keeps it with its lock

    def _lock_key(self, name: str) -> str:
        return f"{self._prefix}{{{name}}}:lock"


def _connect(url: str) -> Redis:
    try:
        from redis import Redis  # noqa: PLC0415 - see above
        from redis.backoff import NoBackoff  # noqa: PLC0415 - see above
        from redis.retry import Retry  # noqa: PLC0415 - see above
    except ImportError:
        raise LocalError("RedisStore needs redis-py: pip install 'affiant[redis]'") from None
    try:
        return Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # a caller waits for the token, which can be requested at once
        )
    except ValueError:  # its text may have the password
        raise LocalError("RedisStore takes a URL like rediss://HOST:6379/0 or unix:///PATH") from None
