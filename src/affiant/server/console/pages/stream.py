"""Answers that are sent while they are made: they end when the reader leaves or stalls, and when the process ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from affiant.server.admin.reads import STALLED_SECONDS
from affiant.server.request import http
from affiant.server.request.http import Answer

Headers = list[tuple[bytes, bytes]]
Channel = tuple[http.Receive, http.Send]
_LAST_WORD_SECONDS = 0.2


async def respond(answer: Answer, headers: Headers, channel: Channel, ending: asyncio.Event) -> None:
    """Send this answer, and stop when there is no one to read it or the process is about to end."""
    receive, send = channel
    sending = asyncio.create_task(http.respond(_hurried(send), answer, headers))
    reasons: list[asyncio.Task[Any]] = [asyncio.create_task(_gone(receive)), asyncio.create_task(ending.wait())]
    try:
        await asyncio.wait([sending, *reasons], return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_cut = not sending.done()
        for task in (sending, *reasons):
            task.cancel()
        found, *_ = await asyncio.gather(sending, *reasons, return_exceptions=True)
    if is_cut:  # the server takes an answer without an end for a fault
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
    elif isinstance(found, Exception) and not isinstance(found, TimeoutError):
        raise found


def _hurried(send: http.Send) -> http.Send:
    async def hurried(message: Any) -> None:
        async with asyncio.timeout(STALLED_SECONDS):
            await send(message)

    return hurried


async def _gone(receive: http.Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
