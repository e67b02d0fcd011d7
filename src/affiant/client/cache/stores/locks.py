"""Locks of files, which the system frees when their holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from affiant.system import forks

_PAUSE = 0.02  # seconds between two attempts


def find(folder: Path, name: str) -> Path:
    """Return the file of a lock: one of 4096, since they are never removed, and there may be a token for each user."""
    return folder / f"{name[:3]}.lock"


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of a file in a private folder; raise TimeoutError after so many seconds."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Order: the file is never removed, since a process may wait for it.
    file = _File(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        wait_for(file.lock, seconds)
        yield
    finally:
        file.unlock()


class _File:
    """An open file and its lock. A process that is forked has the same open file, and so the same lock."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        forks.watch(self)

    def lock(self) -> bool:
        return _try(self._descriptor)

    def unlock(self) -> None:
        if self._descriptor >= 0:
            # Order: to close it alone would leave it locked as long as such a process lives.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.after_fork()

    def after_fork(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def wait_for(attempt: Callable[[], bool], seconds: float) -> None:
    """Try until it is true; raise TimeoutError after so many seconds."""
    end = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() >= end:
            raise TimeoutError(f"another process held the lock for {seconds:.0f} s")
        time.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EINTR):
            return False
        raise
    return True
