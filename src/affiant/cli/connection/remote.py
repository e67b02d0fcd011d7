"""The same road to a server elsewhere: over HTTP, with a token that this client gets for its credentials file."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx2

from affiant.cli.connection import answers
from affiant.cli.connection.place import Admin
from affiant.cli.tokens import options as who
from affiant.client.identity import Service
from affiant.errors import ConfigError, Refused, RemoteError, Unreachable
from affiant.server.admin.roles import PATH
from affiant.system.network import async_http_client, failure, find_proxy

Result = TypeVar("Result")
_DONE, _OTHER = 200, 300


def run(url: str, file: Path | None, work: Callable[[Admin], Awaitable[Result]]) -> Result:
    """Do this with the admin API of the server at this issuer."""
    found = who.find(file)
    if found.issuer != url:
        raise ConfigError(f"these credentials are for {found.issuer}, not for {url}")
    api = f"{found.issuer}{PATH}"
    auth = Service.from_credentials(found).auth(resource=api)

    async def ask() -> Result:
        async with async_http_client(auth=auth, timeout=60, follow_redirects=False) as http:
            return await work(Admin(_Road(http, api).send, found.issuer))

    try:
        return asyncio.run(ask())
    except Refused as refusal:
        if refusal.error == "invalid_target":
            name = shlex.quote(found.client_id)
            refusal.add_note(
                f"{name} has no part in the admin API: give it one with  affiant admin grant {name} viewer"
            )
        raise


class _Road:
    def __init__(self, http: httpx2.AsyncClient, api: str) -> None:
        self._http = http
        self._api = api

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        take: Callable[[bytes], object] | None,
    ) -> tuple[int, bytes, str]:
        """Send a request, and look at its answer; what is wrong with a refusal, who reads it says."""
        path = target.partition("?")[0]
        try:
            async with self._http.stream(method, self._api + target, content=body, headers=dict(headers)) as answer:
                if take is not None and answer.status_code == _DONE:
                    await self._hand_on(path, answer, take)
                    return _DONE, b"", ""
                read = await self._read(answer)
                if answer.status_code < _OTHER:
                    answers.check(method, path, read)
                return answer.status_code, read, answer.headers.get("etag", "")
        except httpx2.HTTPError as error:
            raise Unreachable(failure(error, self._api, proxy=find_proxy(self._api))) from error
        except ValueError as error:
            raise RemoteError(
                f"{self._api} does not answer {method} {path} as an admin API does ({error}):"
                " is there another program before it, or another version of this one?"
            ) from None

    async def _read(self, answer: httpx2.Response) -> bytes:
        read = bytearray()
        async for piece in answer.aiter_bytes():
            read += piece
            _bound(read, answers.MAX_ANSWER)
        return bytes(read)

    async def _hand_on(self, path: str, answer: httpx2.Response, take: Callable[[bytes], object]) -> None:
        rest = b""
        async for piece in answer.aiter_bytes():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                answers.check_line(path, line)
                take(line + b"\n")
            _bound(rest, answers.MAX_LINE)
        take(rest)


def _bound(read: bytes | bytearray, most: int) -> None:
    if len(read) > most:
        raise ValueError(f"more than {most >> 20} MiB at once")
