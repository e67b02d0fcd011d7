"""A store that fails lets no proof pass: the request gets 503, and the next one that the store answers is judged."""

import asyncio
import gc
import logging
import shutil
import socket
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests import redis_server
from tests.loopback import free_port
from tests.redis_server import RedisServer
from tests.unit.resource.issuer import API, NOW, Check, Issuer, check_in_loop
from tests.unit.resource.replays.proofs import REPLAYED, Sender, outcome

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.resource import Denied
from affiant.resource.replays import RedisReplays, SqliteReplays
from affiant.resource.replays.sqlite import PRUNE_EACH


class Own:
    """A store that someone wrote."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer

    async def claim(self, name: bytes, *, now: float, until: float) -> bool:
        found: bool = await self._answer()
        return found


async def _hang() -> bool:
    await asyncio.Event().wait()
    return True


async def _fail() -> bool:
    raise ValueError("the password is hunter2")


async def _answer_nothing() -> None:
    pass


async def _refuse() -> bool:
    raise Rejected(Reason.DPOP_REPLAYED)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_hang, "the store of used proofs did not answer within 1 s"),
        (_fail, "the store of used proofs failed: ValueError"),
        (_refuse, "the store of used proofs failed: Rejected"),
        (_answer_nothing, REPLAYED),
    ],
)
async def test_store_that_does_not_say_true_admits_nobody(check: Check, answer: Any, expected: Any) -> None:
    issuer = Issuer()
    guard, sender = issuer.guard(replays=Own(answer)), Sender(issuer)
    assert await outcome(check, guard, sender, sender.prove()) == expected
    await check(guard, [issuer.token()])  # a bearer token needs no store


async def test_request_gets_503(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    guard, sender = issuer.guard(replays=Own(_fail), url=API), Sender(issuer)
    proof = sender.prove().proofs[0]
    headers = [(b"authorization", sender.authorization[0]), (b"dpop", proof)]
    found = await guard.check_scope({"type": "http", "method": "GET", "path": "/", "headers": headers})
    assert isinstance(found, Denied)
    assert (found.status, found.headers["Retry-After"], found.reason) == (503, "5", None)
    assert "hunter2" not in caplog.text + found.body.decode()


async def _in_turn(store: Any, *between: Callable[[], object]) -> list[Any]:
    """Return the outcome of a first request, and of one after each of these."""
    issuer = Issuer()
    guard, sender = issuer.guard(replays=store), Sender(issuer)
    found = [await outcome(check_in_loop, guard, sender, sender.prove())]
    for change in between:
        change()
        found.append(await outcome(check_in_loop, guard, sender, sender.prove()))
    return found


async def test_file_that_disappears_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "replays.db"
    found = await _in_turn(SqliteReplays(path), path.unlink, lambda: SqliteReplays(path))
    assert found == [
        None,
        f"the store of used proofs {path} failed: [Errno 2] No such file or directory: '{path}'",
        None,
    ]


async def test_file_that_is_replaced_is_the_store_at_once(tmp_path: Path) -> None:
    """Otherwise workers that started later would have another memory than the earlier ones."""
    issuer, path, other = Issuer(), tmp_path / "replays.db", tmp_path / "other.db"
    first, sender = issuer.guard(replays=SqliteReplays(path)), Sender(issuer)
    assert await outcome(check_in_loop, first, sender, sender.prove()) is None
    later = issuer.guard(replays=SqliteReplays(other))
    other.rename(path)
    proof = sender.prove()
    for guard, expected in ((issuer.guard(replays=SqliteReplays(path)), None), (first, REPLAYED)):
        assert await outcome(check_in_loop, guard, sender, proof) == expected
    assert "failed" in await outcome(check_in_loop, later, sender, proof)


async def test_file_that_another_process_keeps_locked(tmp_path: Path) -> None:
    path = tmp_path / "replays.db"
    store = SqliteReplays(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        locked, free = (lambda: other.execute("BEGIN IMMEDIATE")), (lambda: other.execute("ROLLBACK"))
        found = await _in_turn(store, locked, free)
    assert found == [None, f"the store of used proofs {path} failed: database is locked", None]


async def test_full_file_refuses_until_proofs_expire(tmp_path: Path) -> None:
    store = SqliteReplays(tmp_path / "replays.db", most_bytes=65_536)

    async def claim(number: int, now: float) -> bool | None:
        try:
            return await store.claim(number.to_bytes(32, "big"), now=now, until=now + 60.0)
        except RemoteError as error:
            assert str(error).endswith("failed: database or disk is full")
            return None

    found = [await claim(number, NOW) for number in range(1000)]
    full = found.index(None)
    assert set(found[:full]) == {True}
    assert set(found[full:]) == {None}
    assert not any([await claim(number, NOW) for number in range(full)])
    assert [await claim(number, NOW + 61.0) for number in range(1000, 1000 + 3 * PRUNE_EACH)].count(True) > PRUNE_EACH


async def test_expired_proofs_are_forgotten(tmp_path: Path) -> None:
    store = SqliteReplays(tmp_path / "replays.db")
    for number in range(600):
        assert await store.claim(number.to_bytes(32, "big"), now=NOW + number, until=NOW + number + 60.0)
    with closing(sqlite3.connect(tmp_path / "replays.db")) as file:
        assert file.execute("SELECT count(*) FROM used").fetchone()[0] < 60 + PRUNE_EACH + 1
    # The clock is set back: what was forgotten stays claimed.
    assert not any([await store.claim(n.to_bytes(32, "big"), now=NOW, until=NOW + n + 60.0) for n in range(600)])


def test_file_is_private(tmp_path: Path) -> None:
    store = SqliteReplays(tmp_path / "replays.db")
    asyncio.run(store.claim(b"x" * 32, now=0, until=60))
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def _writable(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def _text(path: Path) -> None:
    path.write_text("this is no database" * 100)
    path.chmod(0o600)


def _database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE orders (id)")
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_writable, "may be written by another user"),
        (_text, "cannot be used .file is not a database"),
        (_database, "is another database"),
        (Path.mkdir, "cannot be opened .Is a directory"),
        (lambda path: path.parent.rmdir(), "cannot be opened .No such file or directory"),
    ],
)
def test_file_that_cannot_be_used_is_an_error_at_once(
    tmp_path: Path, prepare: Callable[[Path], object], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "replays.db"
    prepare(path)
    with pytest.raises(ConfigError, match=message):
        SqliteReplays(path)


@pytest.mark.skipif(redis_server.PROGRAM is None, reason=redis_server.MISSING)
async def test_redis_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        first, killed, back = await _in_turn(RedisReplays(server.url), server.kill, server.start)
    finally:
        server.kill()
    assert (first, back) == (None, None)
    assert killed.startswith("the store of used proofs failed: ConnectionError: ")


@pytest.mark.skipif(redis_server.PROGRAM is None, reason=redis_server.MISSING)
async def test_redis_that_evicts_keys_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = RedisServer(tmp_path)
    server.start("--maxmemory-policy", "allkeys-lru")
    try:
        assert await _in_turn(RedisReplays(server.url), lambda: None) == [None, None]
    finally:
        server.kill()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["the store of used proofs evicts keys (maxmemory-policy allkeys-lru): set it to noeviction"]


@pytest.mark.skipif(redis_server.PROGRAM is None, reason=redis_server.MISSING)
async def test_redis_of_another_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = RedisServer(tmp_path)
    server.start("--requirepass", "right")
    try:
        (found,) = await _in_turn(RedisReplays(server.url.replace("unix://", "unix://:hunter2@")))
    finally:
        server.kill()
    assert "AuthenticationError" in found
    assert "hunter2" not in found + caplog.text


@contextmanager
def losing(path: str) -> Iterator[int]:
    """Yield a port that leads to this socket, and closes the connection in place of each answer to SET."""

    def lead(client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            while data := client.recv(65_536):
                server.sendall(data)
                answer = server.recv(65_536)
                if b"SET\r\n" in data:
                    return
                client.sendall(answer)

    def accept() -> None:
        with suppress(OSError):
            while True:
                lead(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.skipif(redis_server.PROGRAM is None, reason=redis_server.MISSING)
async def test_lost_answer_of_redis_is_no_verdict(tmp_path: Path) -> None:
    """A second try would find the key that the first one made, and refuse a proof that was not used."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        with losing(server.path) as port:
            (found,) = await _in_turn(RedisReplays(f"redis://127.0.0.1:{port}"))
    finally:
        server.kill()
    assert found == "the store of used proofs failed: ConnectionError: Connection closed by server."


async def test_redis_at_a_wrong_port() -> None:
    (found,) = await _in_turn(RedisReplays(f"redis://:hunter2@127.0.0.1:{free_port()}"))
    assert "ConnectionError" in found
    assert "hunter2" not in found


async def test_redis_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (found,) = await _in_turn(RedisReplays(f"redis://127.0.0.1:{silent.getsockname()[1]}"))
    assert found.startswith("the store of used proofs")


@pytest.mark.parametrize("url", ["http://:hunter2@redis", "", "redis.example:6379", "redis://:hunter2@h:x"])
def test_wrong_url_is_an_error_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="takes a URL like redis://HOST:6379/0") as caught:
        RedisReplays(url)
    assert "hunter2" not in str(caught.value)


def test_client_is_a_synchronous_one(redis_url: str) -> None:
    import redis
    import redis.asyncio

    with redis.Redis.from_url(redis_url) as client:
        store = RedisReplays(client)
        claims = [asyncio.run(store.claim(b"x" * 32, now=0, until=60)) for _ in range(2)]
    assert claims == [True, False]
    for wrong in (redis.asyncio.Redis(), None, 6379):
        with pytest.raises(ConfigError, match="takes a URL, or a client"):
            RedisReplays(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("store", ["replays.db", Path("replays.db"), SqliteReplays, {}])
def test_what_is_no_store_is_an_error_at_once(store: Any) -> None:
    with pytest.raises(ConfigError, match="replays= is a store such as"):
        Issuer().guard(replays=store)


def test_no_secret_is_shown(redis_url: str) -> None:
    assert "hunter2" not in repr(vars(RedisReplays("redis://:hunter2@redis.example")))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
def test_store_that_is_no_longer_used_is_closed(tmp_path: Path) -> None:
    def opened() -> set[str]:
        return {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}

    store = SqliteReplays(tmp_path / "replays.db")
    asyncio.run(store.claim(b"x" * 32, now=0, until=60))
    assert str(tmp_path / "replays.db") in opened()
    assert store._threads._executor is not None
    store._threads._executor[1].shutdown()  # a thread forgets its last task a moment later
    del store
    gc.collect()
    assert str(tmp_path / "replays.db") not in opened()


async def test_copied_file_is_another_store(tmp_path: Path) -> None:
    """What one process has claimed is in the file, and outlives the process."""
    store = SqliteReplays(tmp_path / "replays.db")
    assert await store.claim(b"x" * 32, now=0, until=60)
    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    copy = SqliteReplays(tmp_path.with_name("copy") / "replays.db")
    assert not await copy.claim(b"x" * 32, now=0, until=60)
