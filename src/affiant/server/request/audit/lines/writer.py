"""Write lines on a thread of its own: a pipe without a reader stops the lines, and nothing else."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from affiant.server.request.audit.lines.forms import LONGEST, Event, Form

MOST: Final = 10_000  # lines that wait; those that come then are dropped, and counted
GATHER_SECONDS: Final = 0.05  # in which lines are gathered: each write costs as much as many of them
CLOSE_SECONDS: Final = 3.0  # for what is left at the end


class LineWriter:
    """Takes events and audit records, and writes them as lines, whole ones in each write.

    Several processes may share the file: a write of LONGEST bytes at most is not mixed with others.

    Args:
        file: descriptor of the file, the pipe or the terminal.
        form: makes the line; on the thread, as far as possible from any request.
        skips: whether an audit record gets no line.
    """

    def __init__(self, file: int, form: Form, skips: Callable[[bytes], bool] = lambda _: False) -> None:
        self._file = file
        self._form = form
        self._skips = skips
        self._waiting: deque[Event | bytes] = deque()
        self._dropped = 0
        # A SimpleQueue, since a signal handler may log while its thread does: its put is re-entrant.
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_signalled = False
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="affiant-lines", daemon=True)
        self._thread.start()

    def put(self, items: Sequence[Event | bytes]) -> None:
        """Take these, or count them as dropped; it never waits, and never fails."""
        if len(self._waiting) + len(items) > MOST:
            self._dropped += len(items)
            return
        self._waiting.extend(items)
        if not self._is_signalled:
            self._is_signalled = True
            self._signals.put(None)

    def close(self) -> None:
        """Write what is left, within CLOSE_SECONDS; what comes afterwards is written, too, until the process ends."""
        self._is_closing.set()
        self._signals.put(None)
        end = time.monotonic() + CLOSE_SECONDS
        while (self._waiting or self._is_signalled) and time.monotonic() < end:
            time.sleep(GATHER_SECONDS / 10)

    def _run(self) -> None:
        while True:
            self._signals.get()
            self._is_closing.wait(GATHER_SECONDS)
            self._drain()
            # Order: lowered before the second look. A caller that saw it raised has already queued its line.
            self._is_signalled = False
            if self._waiting:
                self._is_signalled = True
                self._signals.put(None)

    def _drain(self) -> None:
        block = bytearray()
        while self._waiting:
            line = self._line(self._waiting.popleft())
            if len(block) + len(line) > LONGEST:
                self._write(block)
                block.clear()
            block += line
        dropped, self._dropped = self._dropped, 0
        if dropped:
            message = f"{dropped} lines were dropped: this output does not take them in time"
            block += self._form(Event(time.time(), "warning", __name__, message))
        self._write(block)

    def _line(self, item: Event | bytes) -> bytes:
        if isinstance(item, bytes) and self._skips(item):
            return b""
        try:
            return self._form(item)
        except Exception as error:  # noqa: BLE001 - the thread must go on
            return self._form(Event(time.time(), "error", __name__, f"a line cannot be made: {type(error).__name__}"))

    def _write(self, block: bytearray) -> None:
        left = memoryview(bytes(block))
        with contextlib.suppress(OSError):  # its reader has gone: there is nowhere to say so
            while left:
                try:
                    left = left[os.write(self._file, left) :]
                except BlockingIOError:  # another process that has this output, such as a shell, made it so
                    select.select([], [self._file], [])
