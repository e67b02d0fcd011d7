"""A process that is forked while its parent has a request in the air, or the lock of a store."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from affiant.client.cache.breaker import Breaker
from affiant.client.cache.stores.locks import locked
from affiant.client.cache.token_source import TokenSource
from affiant.client.token import TokenKey
from affiant.errors import RemoteError
from affiant.oauth.token import TokenResponse
from affiant.system import forks

KEY = TokenKey(None, None)
SECONDS = 20  # after which a process that hangs is ended


def _in_child(work: Callable[[], object]) -> int:
    """Return the exit code of a forked process: 0 if the work was done, -14 if it hung."""
    child = os.fork()
    if child == 0:
        import signal

        signal.alarm(SECONDS // 4)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_request_of_the_parent_is_made_again_in_the_child() -> None:
    """Its thread runs in the parent only: without this, every caller in the child would wait for ever."""
    parent, asked, answer = os.getpid(), threading.Event(), threading.Event()

    def fetch(_: TokenKey) -> tuple[TokenResponse, float]:
        if os.getpid() == parent:
            asked.set()
            answer.wait(SECONDS)
        return TokenResponse("parent" if os.getpid() == parent else "child", "Bearer", 600), 0.0

    source = TokenSource(fetch, lambda: 0.0)
    caller = threading.Thread(target=source.get, args=(KEY,))
    caller.start()
    assert asked.wait(SECONDS)

    def work() -> None:
        assert source.get(KEY).value == "child"

    assert _in_child(work) == 0
    answer.set()
    caller.join()
    assert source.get(KEY).value == "parent"


def test_lock_of_another_thread_is_free_in_the_child() -> None:
    lock, has_it, done = forks.Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            has_it.set()
            done.wait(SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    assert has_it.wait(SECONDS)
    assert _in_child(lock.__enter__) == 0
    done.set()
    holder.join()


def test_thread_that_forks_with_a_lock_releases_it_in_both_processes() -> None:
    lock = forks.Lock()

    def work() -> None:
        lock.__exit__(None, None, None)
        with lock:
            pass

    with lock:
        assert _in_child(work) == 0
    with lock:
        pass


def test_breaker_goes_on_in_the_child() -> None:
    breaker = Breaker(lambda: 0.0)
    with breaker._lock:
        assert _in_child(lambda: breaker.fail(RemoteError("away"))) == 0


def test_lock_of_a_store_is_free_after_its_holder_although_a_child_lives(tmp_path: Path) -> None:
    """An open file is shared with a forked process, and with it the lock: a worker would have it as long as it lives."""
    path, (reader, writer) = tmp_path / "x.lock", os.pipe()
    with locked(path, 1):
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the test ends
            os._exit(0)
    try:
        with locked(path, 0):
            pass
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)


def test_child_has_no_lock_of_a_parent_that_was_killed(tmp_path: Path) -> None:
    path, (reader, writer) = tmp_path / "x.lock", os.pipe()
    (told, tell) = os.pipe()
    parent = os.fork()
    if parent == 0:
        with locked(path, 1):
            if os.fork() == 0:
                os.close(writer)
                os.write(tell, b"x")
                os.read(reader, 1)
            os._exit(0)
    os.waitpid(parent, 0)
    assert os.read(told, 1) == b"x"
    try:
        with locked(path, 0):
            pass
    finally:
        for one in (reader, writer, told, tell):
            os.close(one)
