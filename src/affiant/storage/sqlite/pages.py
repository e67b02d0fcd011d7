"""Read many rows in a thread with its own connection: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from affiant.storage.sqlite.connection import translated

Result = TypeVar("Result")


class Pages:
    """Executes reads, one after the other.

    Each read is one whole statement outside of a transaction. So no snapshot outlives a page, and a long list never
    blocks the checkpoint of the write-ahead log.
    """

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only=ON")
        self._thread = ThreadPoolExecutor(1, "affiant-pages")

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run this read."""
        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._connection)

    def close(self) -> None:
        """Finish the current read, and start no other."""
        self._thread.shutdown(cancel_futures=True)
        self._connection.close()
