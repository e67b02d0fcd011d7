"""The reverse proxy of `affiant proxy`, as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from starlette.responses import Response, StreamingResponse

from affiant.cli.workload import request as rules
from affiant.cli.workload.request import Admission, Problem, Scope, Target
from affiant.errors import Error
from affiant.system.network import failure, find_proxy

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

REPLAYABLE = 1 << 20  # bytes of a body that is kept, to be sent again with a renewed token
_CONNECT_SECONDS = 10.0
_UNAVAILABLE, _BAD_GATEWAY, _TIMEOUT = 503, 502, 504


class _Gone(Exception):
    """The program closed its connection within a body: the API must not take the part for the whole."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Forwards each request to one API, with a token.

    Attributes:
        target: the API.
        auth: adds the token, and the proof of a bound one.
        http: for the API. It follows no redirect.
        admission: whose requests are forwarded.
        silence: seconds without a byte from the API.
    """

    target: Target
    auth: Any
    http: httpx2.AsyncClient
    admission: Admission
    silence: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            rules.check(scope, self.admission)
            answer = await self._ask(await self._request(scope, receive))
        except Problem as problem:
            reply = Response(problem.body(), problem.status, problem.headers(), media_type="application/problem+json")
            await reply(dict(scope), receive, send)
            return
        except _Gone:
            return
        host = rules.host_of(scope, self.admission)
        response = StreamingResponse(answer.aiter_raw(), answer.status_code)
        response.raw_headers = rules.to_program(answer.headers.raw, self.target, host)
        try:
            await response(dict(scope), receive, send)
        finally:
            await answer.aclose()

    async def _request(self, scope: Scope, receive: Receive) -> httpx2.Request:
        headers, target = rules.to_api(scope["headers"]), self.target.forward(scope)
        begin, is_whole = await _begin(receive)
        if is_whole:  # the library writes the length
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        timeout = {"connect": _CONNECT_SECONDS, "pool": _CONNECT_SECONDS, "read": self.silence, "write": self.silence}
        return httpx2.Request(
            scope["method"],
            httpx2.URL(self.target.origin).copy_with(raw_path=target),
            headers=headers,
            content=begin if is_whole else _rest(begin, receive),
            extensions={"timeout": timeout, "target": target},  # byte by byte, as the program wrote it
        )

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        try:
            answer = await self.http.send(request, auth=self.auth, stream=True, follow_redirects=False)
        except Error as error:  # of the authorization server, or of the credentials
            raise Problem(_BAD_GATEWAY, f"no token: {error}") from None
        except httpx2.PoolTimeout:
            raise Problem(_UNAVAILABLE, "too many requests at once: try again later") from None
        except httpx2.TimeoutException:
            raise Problem(_TIMEOUT, f"{self.target.origin} did not answer in time") from None
        except httpx2.RequestError as error:
            url = self.target.origin
            raise Problem(_BAD_GATEWAY, failure(error, url, proxy=find_proxy(url))) from None
        finally:
            self.http.cookies.clear()  # they are those of the programs
        return answer


async def _begin(receive: Receive) -> tuple[bytes, bool]:
    """Return the first part of a body, and whether it is the whole body."""
    body = b""
    while len(body) <= REPLAYABLE:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body, True
    return body, False


async def _rest(begin: bytes, receive: Receive) -> AsyncIterator[bytes]:
    yield begin
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
