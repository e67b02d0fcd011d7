"""Driving a flow over HTTP, with threads or with tasks; nine lines each."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from affiant.client.flow import Reply, Wait
from affiant.errors import RemoteError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Generator

    import httpx2

    from affiant.client.flow import Send, Step

Result = TypeVar("Result")
MAX_REPLY = 262_144  # bytes; metadata and tokens are far smaller
TIMEOUT_SECONDS = 10.0


def run(flow: Generator[Step, Reply | None, Result], http: httpx2.Client) -> Result:
    """Drive a flow with blocking calls."""
    reply: Reply | None = None
    while True:
        try:
            step = flow.send(reply)
        except StopIteration as done:
            result: Result = done.value
            return result
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            reply = None
        else:
            reply = _send(step, http)


async def arun(flow: Generator[Step, Reply | None, Result], http: httpx2.AsyncClient) -> Result:
    """Drive a flow with awaited calls."""
    reply: Reply | None = None
    while True:
        try:
            step = flow.send(reply)
        except StopIteration as done:
            result: Result = done.value
            return result
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            reply = None
        else:
            reply = await _asend(step, http)


def _send(step: Send, http: httpx2.Client) -> Reply:
    with _translated(step), http.stream(step.method, step.url, **_arguments(step)) as response:
        body = b""
        for chunk in response.iter_bytes():
            body = _bounded(step, body + chunk)
        return _reply(response, body)


async def _asend(step: Send, http: httpx2.AsyncClient) -> Reply:
    with _translated(step):
        async with http.stream(step.method, step.url, **_arguments(step)) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body = _bounded(step, body + chunk)
            return _reply(response, body)


def _arguments(step: Send) -> dict[str, Any]:
    return {
        "headers": step.headers,
        "content": step.body or None,
        "follow_redirects": False,
        "timeout": TIMEOUT_SECONDS,
    }


def _bounded(step: Send, body: bytes) -> bytes:
    if len(body) > MAX_REPLY:
        raise RemoteError(f"{step.url} answered with more than {MAX_REPLY} bytes")
    return body


def _reply(response: httpx2.Response, body: bytes) -> Reply:
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


class _translated:  # noqa: N801 - used like a function
    """Let no exception of the HTTP library through but as Unreachable."""

    def __init__(self, step: Send) -> None:
        self._url = step.url

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        import httpx2  # noqa: PLC0415 - loaded by the first request, not by the import of the client

        if isinstance(error, httpx2.TransportError):
            place = urlsplit(self._url).netloc
            raise Unreachable(
                f"{place} cannot be reached ({error}): is it running, and is the address right?"
            ) from None
