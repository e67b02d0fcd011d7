"""The worker's side of the link: its first message, its reports, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from affiant.cli.server.listening.table import Succession
from affiant.cli.server.supervision.link import VARIABLE, Link
from affiant.errors import ConfigError

REPORT_SECONDS = 1.0
CHECK_SECONDS = 10.0  # for one check whether the worker can issue tokens
PATIENCE_SECONDS = 30.0  # for new workers to become ready, while old ones serve
FOLLOWED_SECONDS = 20  # for the last connections of an old worker; an idle one is closed after 5

Check = Callable[[], Awaitable[list[str]]]


@dataclass
class Worker:
    """This process."""

    link: Link | None = None  # None: without a supervisor, as a debugger starts it
    sockets: list[socket.socket] = field(default_factory=list)  # that the supervisor has
    place: list[Any] | None = None  # host and port that they were opened for
    decided: dict[str, Any] | None = None  # by the first worker of the generation, for this one
    is_first: bool = True  # of the first generation
    is_activated: bool = False  # systemd opened the sockets
    succession: Succession = field(default_factory=Succession)

    @classmethod
    def join(cls) -> Worker:
        """Read the first message of the supervisor."""
        number = os.environ.pop(VARIABLE, None)
        if number is None:
            return cls()
        link = Link(socket.socket(fileno=int(number)))
        messages: list[dict[str, Any]] | None = []
        while not messages:
            messages = link.receive()
            if messages is None:
                os._exit(1)
        files = messages[0].pop("sockets")
        joined = cls(link, [socket.socket(fileno=file) for file in files], **messages[0])
        threading.Thread(target=joined._obey, args=(link,), daemon=True).start()
        return joined

    @property
    def server_pid(self) -> int:
        """The process that signals go to."""
        return os.getpid() if self.link is None else os.getppid()

    @property
    def is_successor(self) -> bool:
        """Whether others serve until it is ready."""
        return self.link is not None and not self.is_first

    def decide(self, decided: dict[str, Any], opened: list[socket.socket]) -> None:
        """Send the supervisor the settings of all workers, and the sockets that this one opened."""
        if self.link is not None:
            self.link.send({"decided": decided}, opened)

    def report(self, why: list[str]) -> None:
        if self.link is not None:
            with contextlib.suppress(OSError):  # a supervisor that is stopped reads nothing
                self.link.send({"why": why}, wait=False)

    def _obey(self, link: Link) -> None:
        """Wait in a thread for the end of the supervisor, or its order to end."""
        while (messages := link.receive()) is not None:
            if messages:
                self.succession.is_followed = True
                os.kill(os.getpid(), signal.SIGTERM)
        # An orphan would keep the port from the next server.
        os.kill(os.getpid(), signal.SIGKILL)


class Serving(uvicorn.Server):
    """uvicorn's server, which reports each second whether a token could be issued."""

    def __init__(self, config: uvicorn.Config, worker: Worker, check: Check) -> None:
        super().__init__(config)
        self._worker = worker
        self._check = check
        self._reporting: asyncio.Task[None] | None = None
        if worker.is_successor:
            worker.succession.may_accept = self._until_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._reporting = asyncio.create_task(self._report())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._reporting is not None:
            self._reporting.cancel()
        if self._worker.succession.is_followed:
            self.config.timeout_graceful_shutdown = FOLLOWED_SECONDS
        await super().shutdown(sockets)

    async def _report(self) -> None:
        while True:
            self._worker.report(await self._obstacles())
            await asyncio.sleep(REPORT_SECONDS)

    async def _obstacles(self) -> list[str]:
        try:
            return await asyncio.wait_for(self._check(), CHECK_SECONDS)
        except TimeoutError:
            return [f"the store did not answer within {CHECK_SECONDS:.0f} s"]

    async def _until_ready(self) -> None:
        """Wait until this worker can issue tokens: until then, the old ones serve."""
        end = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while why := await self._obstacles():
            if asyncio.get_running_loop().time() > end:
                raise ConfigError(f"a new worker could not issue tokens for {PATIENCE_SECONDS:.0f} s: {'; '.join(why)}")
            await asyncio.sleep(REPORT_SECONDS / 4)
