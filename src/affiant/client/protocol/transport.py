"""Drive a flow over HTTP. Also for `await`, it runs in a thread (token_source.py says why)."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent import futures
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from affiant.client.protocol.flow import NotSent, Reply, Send, Step, Wait
from affiant.errors import RemoteError, Unreachable
from affiant.system.network import failure, find_proxy

if TYPE_CHECKING:  # the first request loads it
    import httpx2

Result = TypeVar("Result")
_TIMES = 2  # a request may take twice its timeout: once to connect, once for the response


def run(
    flow: Generator[Step, Reply | None, Result],
    http: httpx2.Client,
    *,
    headers: Mapping[str, str] | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Result:
    """Return the result of a flow; each of its requests has these headers, too."""
    go: Callable[[], Step] = flow.__next__
    try:
        while True:
            step = go()
            try:
                reply = None
                if isinstance(step, Wait):
                    wait(step.seconds)
                else:
                    reply = _in_time(replace(step, headers={**step.headers, **headers}) if headers else step, http)
                go = partial(flow.send, reply)
            except NotSent as error:
                go = partial(flow.throw, error)
    except StopIteration as done:
        result: Result = done.value
        return result


def _in_time(step: Send, http: httpx2.Client) -> Reply:
    """Return the reply, or raise after a while: the HTTP library's timeout starts again with each byte of a header."""
    answered: Future[Reply] = Future()
    context = contextvars.copy_context()
    # A daemon: a server that never stops sending must not keep the process from ending.
    threading.Thread(target=context.run, args=(_settle, answered, step, http), daemon=True).start()
    futures.wait([answered], step.timeout * _TIMES)
    if not answered.done():
        raise _too_slow(step)
    return answered.result()


def _settle(answered: Future[Reply], step: Send, http: httpx2.Client) -> None:
    try:
        answered.set_result(_send(step, http))
    except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
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
        # Attack: a small compressed response becomes a large one.
        "headers": {"accept-encoding": "identity", **step.headers},
        "content": step.body or None,
        "follow_redirects": False,
        "timeout": step.timeout,
        "auth": None,  # the HTTP client may have its own: this request authenticates by itself
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


@contextlib.contextmanager
def _translated(step: Send, http: httpx2.Client) -> Iterator[None]:
    """Turn the exceptions of the HTTP library into RemoteError, NotSent and Unreachable."""
    import httpx2  # noqa: PLC0415 - loaded by the first request, not by the import of the client

    try:
        yield
    except httpx2.InvalidURL:
        raise RemoteError(f"{step.url!r} is not a URL that can be called") from None
    except httpx2.RequestError as error:
        kind = NotSent if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) else Unreachable
        proxy = find_proxy(step.url) if http.trust_env else None
        raise kind(failure(error, step.url, proxy=proxy)) from None
