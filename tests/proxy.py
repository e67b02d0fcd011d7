"""A network that can fail: a TCP proxy on this machine that passes on, swallows, or cuts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import Enum
from urllib.parse import urlsplit


class Mode(Enum):
    PASS = "pass"
    SWALLOW = "swallow"  # half-open: whatever is sent vanishes, without an error
    SWALLOW_ANSWERS = "swallow answers"


class Proxy:
    """Passes connections on to a host and port, as the mode says at the moment."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.mode = Mode.PASS

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        """The URL of the target, through the proxy."""
        assert self._server is not None
        user, _, _ = self._target.netloc.rpartition("@")
        port = self._server.sockets[0].getsockname()[1]
        return self._target._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.mode = Mode.PASS
        self.cut()
        await self._server.wait_closed()
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
            self._writers |= {writer, back}
            await asyncio.gather(self._pass(reader, back, Mode.PASS), self._pass(there, writer, Mode.SWALLOW_ANSWERS))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, swallowed: Mode) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if self.mode is Mode.SWALLOW or (self.mode is swallowed and swallowed is not Mode.PASS):
                    continue
                sink.write(data)
                await sink.drain()
        if self.mode is Mode.PASS:
            sink.transport.abort()


@contextlib.asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy before this URL's host."""
    proxy = Proxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
