"""A process that was forked: what the threads of its parent held, it has no thread to release."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """An object with state that belongs to a thread."""

    def after_fork(self) -> None:
        """Forget that state. Called in the new process, before anything else runs there."""


_watched: WeakSet[Forked] = WeakSet()


def watch(one: Forked) -> None:
    """Call `after_fork` of this object in each process that is forked from this one, as long as the object exists."""
    _watched.add(one)


def _after_fork() -> None:
    for one in list(_watched):
        one.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class Lock:
    """A lock that is free in a process that was forked while another thread held it.

    Danger: with a plain one, the first who wants it in the new process waits for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock.locked():  # not where this thread forked while it had the lock
            self._lock.release()
