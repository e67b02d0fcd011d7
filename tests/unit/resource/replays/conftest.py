"""The stores of used proofs, each empty, and what a process needs to share one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import redis_server
from tests.redis_server import RedisServer

from affiant.resource.replays import RedisReplays, ReplayStore, SqliteReplays

Make = Callable[[], ReplayStore | None]


@pytest.fixture(scope="package")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if redis_server.PROGRAM is None:
        pytest.skip(redis_server.MISSING)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(running_redis: RedisServer) -> str:
    from redis import Redis

    with Redis.from_url(running_redis.url) as client:
        client.flushall()
    return running_redis.url


@pytest.fixture(params=["sqlite", "redis"])
def code(request: Any, tmp_path: Path) -> str:
    """The code that makes the store, in any process."""
    if request.param == "sqlite":
        return f"SqliteReplays({str(tmp_path / 'replays.db')!r})"
    return f"RedisReplays({request.getfixturevalue('redis_url')!r})"


@pytest.fixture
def make_shared(code: str) -> Make:
    """Make a store that shares its memory with the others that this makes."""
    return lambda: eval(code, {"SqliteReplays": SqliteReplays, "RedisReplays": RedisReplays})


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: Any, tmp_path: Path) -> ReplayStore | None:
    """The store of one guard; None is the memory of the process."""
    match request.param:
        case "sqlite":
            return SqliteReplays(tmp_path / "replays.db")
        case "redis":
            return RedisReplays(request.getfixturevalue("redis_url"))
        case _:
            return None
