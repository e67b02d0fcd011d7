"""Used proofs in Redis or Valkey, for the processes of several machines."""

from __future__ import annotations

import logging
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

from affiant.errors import ConfigError, RemoteError
from affiant.resource.replays.threads import Threads

if TYPE_CHECKING:  # an API without this store never loads it
    from redis import Redis, RedisCluster

log: logging.Logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.8
MOST_THREADS = 8  # and connections, of one process
PREFIX = "affiant:dpop:"


class RedisReplays:
    """Used proofs in a server that speaks the Redis protocol (``pip install affiant[redis]``).

    The server must not evict keys: a claim that it evicts can be made again. If it fails over to a replica, the claims
    that the replica did not get yet can be made again, too.

    Args:
        server: its URL (``rediss://user:password@redis.example:6379/0``), or a client: ``redis.Redis`` or
            ``redis.RedisCluster``, with timeouts below a second and without retries: a second try may find the key
            of the first one.
        prefix: of its keys.

    Raises:
        ConfigError: no such URL, an asynchronous client, or redis-py is not installed.
    """

    def __init__(self, server: str | Redis | RedisCluster, *, prefix: str = PREFIX) -> None:
        self._client = _connect(server) if isinstance(server, str) else server
        if not hasattr(self._client, "set") or hasattr(self._client, "__aenter__"):
            raise ConfigError("RedisReplays takes a URL, or a client of redis.Redis: not one of redis.asyncio")
        self._prefix = prefix
        self._threads = Threads(MOST_THREADS)
        self._is_looked_at = False

    async def claim(self, name: bytes, *, now: float, until: float) -> bool:
        """Claim a name, as `ReplayStore` says."""
        return await self._threads.run(partial(self._claim, name, until - now))

    def _claim(self, name: bytes, seconds: float) -> bool:
        from redis import RedisError  # noqa: PLC0415 - see above

        # Attack: PXAT is judged by the clock of the server. Where that is ahead, each SET of one key answers OK.
        milliseconds = ceil(seconds * 1000)
        if milliseconds <= 0:
            return False
        try:
            is_first = self._client.set(self._prefix + name.hex(), b"", nx=True, px=milliseconds) is True
            if not self._is_looked_at:
                self._is_looked_at = True
                self._look()
        except (RedisError, OSError) as error:
            raise RemoteError(f"the store of used proofs failed: {type(error).__name__}: {error}") from None
        return is_first

    def _look(self) -> None:
        """Warn if the server evicts keys."""
        from redis import ResponseError  # noqa: PLC0415 - see above

        try:
            policy = self._client.info("memory").get("maxmemory_policy", "noeviction")
        except ResponseError:  # this user may not ask
            return
        if policy != "noeviction":
            log.warning("the store of used proofs evicts keys (maxmemory-policy %s): set it to noeviction", policy)


def _connect(url: str) -> Redis:
    try:
        from redis import Redis  # noqa: PLC0415 - see above
        from redis.backoff import NoBackoff  # noqa: PLC0415 - see above
        from redis.retry import Retry  # noqa: PLC0415 - see above
    except ImportError:
        raise ConfigError("RedisReplays needs redis-py: pip install 'affiant[redis]'") from None
    try:
        return Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            # A second try could find the key of the first one, whose answer was lost: a valid proof would be refused.
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # its text may have the password
        raise ConfigError(
            "RedisReplays takes a URL like redis://HOST:6379/0, rediss://HOST:6379/0 or unix:///PATH"
        ) from None
