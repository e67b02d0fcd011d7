"""A connection of a program: uvicorn's h11, the strictest of its parsers, with a deadline for the headers.

Attack: another user of this machine opens every connection that the proxy may have, and sends nothing on them. The
secret of --require-secret comes in the headers, so whoever sends it needs no deadline afterwards.
"""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEADERS_SECONDS = 10.0  # from accepting, or from the last answer, to the end of the headers


class Incoming(H11Protocol):
    """uvicorn's connection, which is closed if no request comes in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        self._expect()
        super().on_response_complete()
        self._note()  # a request that was sent early

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._stop()
        self._deadline = self.loop.call_later(HEADERS_SECONDS, self.transport.abort)

    def _note(self) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._stop()

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
