"""An event loop that accepts connections by a Listener: uvicorn asks its loop for a server, in each worker."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from typing import Any

from affiant.cli.server.listening.connection import HEADERS_SECONDS, Connection
from affiant.cli.server.listening.table import Caps, Succession, Table
from affiant.telemetry.samples import Samples

try:
    from uvloop import Loop as _Loop
except ModuleNotFoundError:  # it is not made for every platform
    from asyncio import SelectorEventLoop as _Loop  # type: ignore[assignment]

import socket
import ssl
from collections.abc import Callable, Sequence

log: logging.Logger = logging.getLogger(__name__)

_BATCH = 64  # connections that are accepted before anything else is done
_MAX_BATCHES = 32
_PAUSE_SECONDS = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def make(caps: Caps, succession: Succession | None = None) -> asyncio.AbstractEventLoop:
    """Return a new event loop whose servers have these caps."""
    loop = _CappedLoop()
    loop.caps = caps
    loop.succession = succession or Succession()
    return loop


def measure() -> Samples:
    """Return how many connections the running loop has open, and how many it had no room for."""
    tables: list[Table] = getattr(asyncio.get_running_loop(), "tables", [])
    return {
        "affiant_open_connections": {(): sum(map(len, tables))},
        "affiant_refused_connections_total": {(): sum(table.refused for table in tables)},
    }


class _CappedLoop(_Loop):  # type: ignore[misc, unused-ignore]
    caps = Caps()
    succession = Succession()

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Table] = []  # one for each port

    async def create_server(self, protocol_factory: Callable[[], Connection], **options: Any) -> Any:  # type: ignore[override, unused-ignore]
        await self.succession.may_accept()
        table = Table(self.caps)
        table.succession = self.succession
        self.tables.append(table)
        listener = Listener(self, protocol_factory, options["sock"], table, tls=options.get("ssl"))
        listener.start()
        return listener


class Listener:
    """Accepts connections on one socket; uvicorn uses it as an asyncio.Server.

    It does not use asyncio.Server because that hides a connection until its TLS handshake has ended.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: Callable[[], Connection],
        listening: socket.socket,
        table: Table,
        *,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._factory = factory
        self._listening = listening
        self._table = table
        self._tls = tls
        self._opening: dict[asyncio.Task[None], Connection] = {}

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The socket that it listens on."""
        return [self._listening]

    def start(self) -> None:
        """Accept from now on."""
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)
        self._table.start(self._loop)

    def close(self) -> None:
        """Accept what is in the queue already, unless others do, and then no more."""
        if self._table.is_ending:
            return
        if self._table.is_followed:
            self._table.is_ending = True
        else:
            for _ in range(_MAX_BATCHES):
                if not self._accept():
                    break
            self._table.is_ending = True
            for connection in self._opening.values():
                connection.hurry()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    async def wait_closed(self) -> None:
        """Return when the last connection has been closed; uvicorn calls it when it has waited for all of them."""
        while len(self._table):  # noqa: ASYNC110 - every connection has a deadline, and uvicorn one for them all
            await asyncio.sleep(_PAUSE_SECONDS)
        self._table.stop()

    def _accept(self) -> bool:
        """Accept what has come; return whether there may be more."""
        for _ in range(_BATCH):
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return False
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._wait_for_files(error)
                return False
            self._take(accepted, str(address[0]) if isinstance(address, tuple) else "")
        return True

    def _take(self, accepted: socket.socket, peer: str) -> None:
        address = self._table.find_room(peer)
        if address is None:
            accepted.close()
            return
        accepted.setblocking(False)
        connection = self._factory()
        connection.join(self._table, accepted, address)
        task = self._loop.create_task(self._open(accepted, connection))
        self._opening[task] = connection
        task.add_done_callback(self._opening.pop)

    async def _open(self, accepted: socket.socket, connection: Connection) -> None:
        timeout = HEADERS_SECONDS if self._tls is not None else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, accepted, ssl=self._tls, ssl_handshake_timeout=timeout
            )
        except OSError:  # the handshake failed, or the peer has gone
            self._table.discard(connection)
            accepted.close()
        except BaseException:
            self._table.discard(connection)
            accepted.close()
            raise

    def _wait_for_files(self, error: OSError) -> None:
        """Close an idle connection, and accept the next one when that has been done."""
        log.warning("no connection can be accepted: %s", error.strerror)
        self._table.drop_oldest()
        self._loop.remove_reader(self._listening)
        self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._table.is_ending:
            with contextlib.suppress(ValueError, OSError):
                self._loop.add_reader(self._listening, self._accept)
