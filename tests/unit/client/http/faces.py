"""Each HTTP library as one function: send a POST with the auth of a service, and return the status."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import httpx2
import niquests
import requests
import urllib3

Send = Callable[..., Awaitable[int]]


@dataclass(frozen=True)
class Face:
    """One way to send a request.

    Attributes:
        post: sends it and waits; also for libraries of asyncio, each time with a new event loop.
        send: the same for `await`, if the library is one of asyncio.
        is_asked_each_hop: whether the library asks the auth again after a redirect.
    """

    name: str
    post: Callable[..., int]
    send: Send | None = None
    is_asked_each_hop: bool = False


def _httpx2(url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False) -> int:
    return httpx2.post(
        url, auth=auth, verify=False, content=content, headers=headers, follow_redirects=follow_redirects
    ).status_code


def _httpx(url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False) -> int:
    return httpx.post(
        url, auth=auth, verify=False, content=content, headers=headers, follow_redirects=follow_redirects
    ).status_code


def _requests(library: Any) -> Callable[..., int]:
    def post(url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False) -> int:
        with library.Session() as session:
            status: int = session.post(
                url, auth=auth, data=content, headers=headers, allow_redirects=follow_redirects
            ).status_code
            return status

    return post


def _urllib3(url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False) -> int:
    with urllib3.PoolManager() as manager:
        http = auth.urllib3(manager)
        status: int = http.request("POST", url, body=content, headers=headers, redirect=follow_redirects).status
        return status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _urllib(url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False) -> int:
    opener = urllib.request.build_opener(auth.urllib(), *(() if follow_redirects else (_NoRedirect,)))
    headers = {"Content-Type": "text/plain", **(headers or {})}
    try:
        with opener.open(urllib.request.Request(url, content, headers, method="POST"), timeout=20) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _async_httpx(library: Any) -> Send:
    async def send(
        url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False
    ) -> int:
        async with library.AsyncClient(verify=False) as http:
            response = await http.post(
                url, auth=auth, content=_streamed(content), headers=headers, follow_redirects=follow_redirects
            )
            status: int = response.status_code
            return status

    return send


async def _aiohttp(
    url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False
) -> int:
    async with (
        aiohttp.ClientSession(middlewares=[auth]) as http,
        http.post(url, data=_streamed(content), headers=headers, allow_redirects=follow_redirects) as response,
    ):
        return response.status


async def _niquests(
    url: str, auth: Any, *, content: Any = None, headers: Any = None, follow_redirects: bool = False
) -> int:
    async with niquests.AsyncSession(auth=auth.niquests_async()) as http:
        response = await http.post(url, data=_streamed(content), headers=headers, allow_redirects=follow_redirects)
        assert response.status_code is not None
        return response.status_code


def _streamed(content: Any) -> Any:
    async def stream() -> AsyncIterator[bytes]:
        for part in content:
            yield part

    return stream() if isinstance(content, Iterator) else content


def _of(name: str, send: Send, *, each_hop: bool = False) -> Face:
    def post(url: str, auth: Any, **options: Any) -> int:
        async def run() -> int:
            return await send(url, auth, **options)

        return asyncio.run(run())

    return Face(name, post, send, each_hop)


FACES = {
    face.name: face
    for face in (
        Face("httpx2", _httpx2),
        Face("httpx", _httpx),
        Face("requests", _requests(requests)),
        Face("niquests", _requests(niquests)),
        Face("urllib3", _urllib3, is_asked_each_hop=True),
        Face("urllib", _urllib, is_asked_each_hop=True),
        _of("httpx2-async", _async_httpx(httpx2)),
        _of("httpx-async", _async_httpx(httpx)),
        _of("niquests-async", _niquests),
        _of("aiohttp", _aiohttp, each_hop=True),
    )
}
AWAITED = [name for name, face in FACES.items() if face.send is not None]
