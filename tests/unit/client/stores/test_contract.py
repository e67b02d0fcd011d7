"""The contract of every store, also between processes and with damaged content."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keyring
import pytest
from tests import redis_server
from tests.redis_server import RedisServer
from tests.unit.client.stores import file_keyring

from affiant import Service
from affiant.client import EncryptedFileStore, FileTokenStore, KeyringStore, RedisStore, TokenStore
from affiant.errors import LocalError

KEY = "c2l4dGVlbiBieXRlcyBhbmQgc2l4dGVlbiBtb3JlISE="
NAME, OTHER = "a1" * 32, "b2" * 32
KINDS = ["file", "encrypted", "keyring", "redis"]
SECONDS = 5.0


@dataclass
class Shared:
    """A store, how another process makes it, and every byte that it keeps."""

    kind: str
    store: TokenStore
    program: str
    content: Callable[[], bytes]
    spoil: Callable[[str, bytes], None]  # put bytes in the place of a value, past the store
    raw: Callable[[str], bytes]


def _make(kind: str, folder: Path) -> TokenStore:
    if kind == "keyring":
        return KeyringStore(locks=folder / "locks")
    if kind == "redis":
        return RedisStore(f"unix://{folder / 'redis.sock'}", key=KEY)
    return FileTokenStore(folder) if kind == "file" else EncryptedFileStore(folder, key=KEY)


@pytest.fixture(scope="session")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A running server of the Redis protocol, if there is one on this machine."""
    if redis_server.PROGRAM is None:
        yield None
        return
    folder = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder)
    server.start()
    yield folder
    server.kill()


@pytest.fixture(params=KINDS)
def shared(
    request: pytest.FixtureRequest, tmp_path: Path, redis_folder: Path | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shared]:
    kind: str = request.param
    folder = tmp_path / "store"
    if kind == "redis":
        if redis_folder is None:
            pytest.skip(redis_server.MISSING)
        folder = redis_folder
    if kind == "keyring":
        monkeypatch.setenv("FILE_KEYRING", str(tmp_path / "keyring"))
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.unit.client.stores.file_keyring.FileKeyring")
        before = keyring.get_keyring()
        keyring.set_keyring(file_keyring.FileKeyring())
        yield _shared(kind, folder, tmp_path / "keyring")
        keyring.set_keyring(before)
        return
    yield _shared(kind, folder, folder)


def _shared(kind: str, folder: Path, kept: Path) -> Shared:
    program = f"""
from pathlib import Path
from tests.unit.client.stores import test_contract
store = test_contract._make({kind!r}, Path({str(folder)!r}))
"""
    store = _make(kind, folder)
    if kind == "redis":
        return Shared(kind, store, program, *_in_redis(folder))

    def place(name: str) -> Path:
        return kept / (f"affiant-{name}" if kind == "keyring" else name)

    def content() -> bytes:
        return b"".join(path.read_bytes() for path in kept.rglob("*") if path.is_file())

    def spoil(name: str, value: bytes) -> None:
        place(name).write_bytes(value)

    return Shared(kind, store, program, content, spoil, lambda name: place(name).read_bytes())


def _in_redis(folder: Path) -> tuple[Callable[[], bytes], Callable[[str, bytes], None], Callable[[str], bytes]]:
    import redis

    client: Any = redis.Redis(unix_socket_path=str(folder / "redis.sock"))
    client.flushall()

    def content() -> bytes:
        return b"".join(client.get(key) or b"" for key in client.scan_iter() if not key.endswith(b":lock"))

    def spoil(name: str, value: bytes) -> None:
        client.set(f"affiant:token:{{{name}}}", value)

    return content, spoil, lambda name: client.get(f"affiant:token:{{{name}}}") or b""


def _run(shared: Shared, text: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", shared.program + text], stdout=subprocess.PIPE, text=True)


def test_what_is_put_is_found_by_another_process(shared: Shared) -> None:
    assert shared.store.get(NAME) is None
    for value in (b"first", bytes(range(256)) * 16):
        with shared.store.lock(NAME, SECONDS):
            shared.store.put(NAME, value, 60)
        assert (shared.store.get(NAME), shared.store.get(OTHER)) == (value, None)
    other = _run(shared, f"print(store.get({NAME!r}).hex())\nwith store.lock({NAME!r}, 5): store.remove({NAME!r})")
    assert other.communicate(timeout=30)[0].strip() == (bytes(range(256)) * 16).hex()
    assert shared.store.get(NAME) is None
    with shared.store.lock(NAME, SECONDS):
        shared.store.remove(NAME)


def test_what_others_keep_is_not_readable(shared: Shared) -> None:
    """Encrypted where a store says so, and nothing of it in its repr."""
    with shared.store.lock(NAME, SECONDS):
        shared.store.put(NAME, b"canary-of-a-token", 60)
    assert (b"canary" in shared.content()) is (shared.kind == "file")
    assert KEY not in repr(shared.store)


def test_damaged_content_is_ignored(shared: Shared) -> None:
    """Attack: who can write into the store changes a token, or puts another client's in its place."""
    if shared.kind in ("file", "keyring"):
        pytest.skip("the system protects it, and kept.parse() reads what is in it")
    for name in (NAME, OTHER):
        with shared.store.lock(name, SECONDS):
            shared.store.put(name, b"value of " + name.encode(), 60)
    good, other = shared.raw(NAME), shared.raw(OTHER)
    for place in range(len(good)):
        shared.spoil(NAME, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert shared.store.get(NAME) is None, place
    for text in (b"", b"\0", good[:12], good[:-1], good + b"\0", other, b"{}"):
        shared.spoil(NAME, text)
        assert shared.store.get(NAME) is None
    shared.spoil(NAME, good)
    assert shared.store.get(NAME) == b"value of " + NAME.encode()


def test_one_process_at_a_time_has_the_lock(shared: Shared) -> None:
    with shared.store.lock(NAME, SECONDS), shared.store.lock(OTHER, SECONDS):
        waiting = _run(
            shared, f"try:\n with store.lock({NAME!r}, 0.1): print('in')\nexcept TimeoutError: print('late')"
        )
        assert waiting.communicate(timeout=30)[0] == "late\n"
    after = _run(shared, f"with store.lock({NAME!r}, 5): print('in')")
    assert after.communicate(timeout=30)[0] == "in\n"


def test_a_killed_holder_frees_the_lock(shared: Shared) -> None:
    """Kill -9 between the lock and the end: its value is whole or not there, and the next one gets in."""
    text = f"""
import sys
with store.lock({NAME!r}, 0.5):
    print("in", flush=True)
    while True:
        for value in (b"a" * 40_000, b"b" * 20_000):
            store.put({NAME!r}, value, 60)
"""
    holder = _run(shared, text)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "in\n"
    time.sleep(0.05)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    holder.stdout.close()
    found = shared.store.get(NAME)
    assert found in (None, b"a" * 40_000, b"b" * 20_000)
    with shared.store.lock(NAME, SECONDS):
        shared.store.put(NAME, b"next", 60)
    assert shared.store.get(NAME) == b"next"


def test_a_store_of_another_key_finds_nothing(tmp_path: Path) -> None:
    mine, other = EncryptedFileStore(tmp_path, key=KEY), EncryptedFileStore(tmp_path, key=bytes(32))
    mine.put(NAME, b"value", 60)
    assert (mine.get(NAME), other.get(NAME)) == (b"value", None)


def test_files_that_ended_are_removed_and_no_others(tmp_path: Path) -> None:
    """Also what a killed process left; the folder may have files of its user."""
    store = FileTokenStore(tmp_path)
    store.put(NAME, b"ended", -120)
    old = [tmp_path / f".{OTHER}.0123456789abcdef", tmp_path / "notes.txt", tmp_path / f"{NAME}.txt", tmp_path / ".x"]
    for path in old:
        path.write_text("x")
        os.utime(path, (1, 1))
    store.put(OTHER, b"value", 60)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([OTHER, *(path.name for path in old[1:])])


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "base64 of 32 random bytes"),
        ("short", "base64 of 32 random bytes"),
        (b"short", "base64 of 32 random bytes"),
        ("env:NO_SUCH_VARIABLE", "the variable NO_SUCH_VARIABLE must have"),
        ("file:/no/such/file", "no such file"),
        ("vault:x/y", "env:VARIABLE, file:PATH or keyring:SERVICE/USER"),
        ("keyring:affiant/cache", "nothing for affiant/cache: run  keyring set affiant cache"),
    ],
)
def test_a_key_that_is_none_is_said(tmp_path: Path, key: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILE_KEYRING", str(tmp_path))
    monkeypatch.setattr(keyring, "get_password", file_keyring.FileKeyring().get_password)
    with pytest.raises(LocalError, match=why):
        EncryptedFileStore(tmp_path, key=key)


def test_a_key_is_found_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In either alphabet of base64, with the line end that a command leaves."""
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("CACHE_KEY", KEY)
    monkeypatch.setenv("FILE_KEYRING", str(tmp_path / "keyring"))
    backend = file_keyring.FileKeyring()
    backend.set_password("affiant", "cache", KEY)
    monkeypatch.setattr(keyring, "get_password", backend.get_password)
    EncryptedFileStore(tmp_path, key=KEY).put(NAME, b"value", 60)
    for key in (f"file:{tmp_path / 'key'}", "env:CACHE_KEY", "keyring:affiant/cache", KEY.encode()):
        assert EncryptedFileStore(tmp_path, key=key).get(NAME) == b"value"
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(LocalError, match="chmod 600"):
        EncryptedFileStore(tmp_path, key=f"file:{tmp_path / 'key'}")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keyring", "redis"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name) if name == "redis" else None)
    with pytest.raises(LocalError, match=r"affiant\[keyring\]"):
        KeyringStore()
    with pytest.raises(LocalError, match=r"affiant\[redis\]"):
        RedisStore("redis://127.0.0.1", key=KEY)


@pytest.mark.parametrize("server", ["http://user:canary@redis.example", "", object()])
def test_a_server_that_is_none_is_said(server: Any) -> None:
    with pytest.raises(LocalError, match="RedisStore takes a URL") as caught:
        RedisStore(server, key=KEY)
    assert "canary" not in str(caught.value)


def test_a_lock_that_ended_keeps_nothing(redis_folder: Path | None) -> None:
    """A process that slept through the end of its lock must not replace what a later holder put."""
    if redis_folder is None:
        pytest.skip(redis_server.MISSING)
    late, next_one = (_make("redis", redis_folder) for _ in range(2))
    with late.lock(NAME, 0.05):
        time.sleep(0.1)
        with next_one.lock(NAME, SECONDS):
            next_one.put(NAME, b"newer", 60)
            late.put(NAME, b"older", 60)
        assert next_one.get(NAME) == b"newer"
        late.put(NAME, b"older", 60)
    assert next_one.get(NAME) == b"newer"


@pytest.mark.parametrize("key", [None, 7, "", "abc", b"short", "env:NO_SUCH_VARIABLE"])
def test_a_wrong_key_is_refused_when_it_is_given(tmp_path: Path, key: Any) -> None:
    """`key=os.environ.get("UNSET")`, and the like."""
    with pytest.raises(LocalError, match="base64 of 32 random bytes"):
        EncryptedFileStore(tmp_path, key=key)


@pytest.mark.parametrize("store", ["tokens", Path("tokens"), object()])
def test_what_is_no_store_is_refused_when_it_is_given(store: Any) -> None:
    with pytest.raises(LocalError, match=f"store= is a TokenStore, not {type(store).__name__}"):
        Service("https://as.example", "billing", secret="s" * 32, store=store)


def test_a_folder_without_a_name_is_not_the_current_one() -> None:
    with pytest.raises(LocalError, match="folder= is empty"):
        FileTokenStore("")
