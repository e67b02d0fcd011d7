"""Read many rows on a thread of its own, with a connection of its own: the event loop waits for no disk."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from affiant.storage.sqlite.connection import translated

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

Result = TypeVar("Result")


class Pages:
    """Reads, one after the other.

    Each is one statement outside of a transaction, read to its end. So no snapshot outlives a page: the write-ahead
    log can always be checkpointed and begun again, however long somebody reads.
    """

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only=ON")
        self._thread = ThreadPoolExecutor(1, "affiant-pages")

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what this reads.

        Raises:
            StoreError: the database failed.
        """
        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._connection)

    def close(self) -> None:
        """Finish the read that has begun, and no other."""
        self._thread.shutdown(cancel_futures=True)
        self._connection.close()
