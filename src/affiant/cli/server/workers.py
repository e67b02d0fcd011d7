"""Several processes that serve: uvicorn's supervisor, which ends quietly."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """uvicorn's workers, and the signal that ended them.

    A worker starts with SIGINT blocked: Ctrl-C goes to it too, and it would end with a traceback of its imports.
    """

    is_interrupted = False

    def init_processes(self) -> None:
        resource_tracker.ensure_running()  # or the first start would do it, and unblock SIGINT
        with _interrupts_waiting():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        with _interrupts_waiting():
            super().keep_subprocess_alive()

    def handle_signals(self) -> None:
        with _interrupts_waiting():
            super().handle_signals()

    def terminate_all(self) -> None:
        # Order: a successor can listen on the port only when this process has closed it too.
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def handle_int(self) -> None:
        self.is_interrupted = True
        super().handle_int()


@contextlib.contextmanager
def _interrupts_waiting() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
