"""Driving a flow over HTTP. Those who await a token have it driven on a thread (token_source.py says why)."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Generator
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from affiant.client.flow import NotSent, Reply, Send, Step, Wait
from affiant.errors import RemoteError, Unreachable
from affiant.system.network import failure, find_proxy

if TYPE_CHECKING:
    import httpx2

Result = TypeVar("Result")
_TIMES = 2  # its timeout, a request may take in all: as long to be connected as to be answered


def run(
    flow: Generator[Step, Reply | None, Result], http: httpx2.Client, *, wait: Callable[[float], object] = time.sleep
) -> Result:
    """Drive a flow.

    Raises:
        Unreachable: no answer came.
        RemoteError: an answer that is too long or too slow, or what the flow makes of it.
    """
    go: Callable[[], Step] = flow.__next__
    try:
        while True:
            step = go()
            try:
                reply = None
                if isinstance(step, Wait):
                    wait(step.seconds)
                else:
                    reply = _in_time(step, http)
                go = partial(flow.send, reply)
            except NotSent as error:
                go = partial(flow.throw, error)
    except StopIteration as done:
        result: Result = done.value
        return result


def _in_time(step: Send, http: httpx2.Client) -> Reply:
    """The reply, or nothing after a while: the HTTP library waits anew for each byte of a header, without an end."""
    answered: Future[Reply] = Future()
    context = contextvars.copy_context()
    # A daemon: who sends for ever must not keep the process from ending. What it is still sent then is thrown away.
    threading.Thread(target=context.run, args=(_settle, answered, step, http), daemon=True).start()
    futures.wait([answered], step.timeout * _TIMES)
    if not answered.done():
        raise _too_slow(step)
    return answered.result()


def _settle(answered: Future[Reply], step: Send, http: httpx2.Client) -> None:
    try:
        answered.set_result(_send(step, http))
    except BaseException as error:  # noqa: BLE001 - it is for who waits
        answered.set_exception(error)


def _send(step: Send, http: httpx2.Client) -> Reply:
    end = time.monotonic() + step.timeout
    with _translated(step, http), http.stream(step.method, step.url, **_arguments(step)) as response:
        body = b""
        for chunk in response.iter_bytes():
            body = _bounded(step, body + chunk, end)
        return _reply(response, body)


def _arguments(step: Send) -> dict[str, Any]:
    return {
        # Not compressed: a small answer must not become a large one.
        "headers": {"accept-encoding": "identity", **step.headers},
        "content": step.body or None,
        "follow_redirects": False,
        "timeout": step.timeout,
        "auth": None,  # whatever the client was set up with, this request proves who it is by itself
    }


def _bounded(step: Send, body: bytes, end: float) -> bytes:
    if time.monotonic() > end:
        raise _too_slow(step)
    if len(body) > step.limit:
        raise RemoteError(f"{step.url} answered with more than {step.limit} bytes")
    return body


def _too_slow(step: Send) -> RemoteError:
    return RemoteError(f"{step.url} took more than {step.timeout:.0f} s to answer")


def _reply(response: httpx2.Response, body: bytes) -> Reply:
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


class _translated:  # noqa: N801 - used like a function
    """Let no exception of the HTTP library through but as Unreachable."""

    def __init__(self, step: Send, http: httpx2.Client) -> None:
        self._url = step.url
        self._trust_env = http.trust_env

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        import httpx2  # noqa: PLC0415 - loaded by the first request, not by the import of the client

        if isinstance(error, httpx2.InvalidURL):
            raise RemoteError(f"{self._url!r} is not a URL that can be called") from None
        if isinstance(error, httpx2.RequestError):
            not_sent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            kind = NotSent if not_sent else Unreachable
            proxy = find_proxy(self._url) if self._trust_env else None
            raise kind(failure(error, self._url, proxy=proxy)) from None
