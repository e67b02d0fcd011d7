"""The admin API of a remote server: over HTTP, with a token for the client of a credentials file."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx2

from affiant.cli.connection import answers
from affiant.cli.connection.admin import Admin, Take
from affiant.cli.tokens import options
from affiant.client.identity import Service
from affiant.errors import ConfigError, Refused, RemoteError, Unreachable
from affiant.server.admin.roles import PATH
from affiant.system.network import async_http_client, failure, find_proxy

Result = TypeVar("Result")
_OK, _OTHER = 200, 300


def run(url: str, file: Path | None, work: Callable[[Admin], Awaitable[Result]]) -> Result:
    """Run this with the admin API of the server at this issuer."""
    found = options.find(file)
    if found.issuer != url:
        raise ConfigError(f"these credentials are for {found.issuer}, not for {url}")
    api = f"{found.issuer}{PATH}"
    auth = Service.from_credentials(found).auth(resource=api)

    async def ask() -> Result:
        async with async_http_client(auth=auth, timeout=60, follow_redirects=False) as http:
            return await work(Admin(_Sender(http, api).send, found.issuer))

    try:
        return asyncio.run(ask())
    except Refused as refusal:
        if refusal.error == "invalid_target":
            name = shlex.quote(found.client_id)
            refusal.add_note(f"{name} has no role in the admin API: affiant admin grant {name} viewer")
        raise


class _Sender:
    def __init__(self, http: httpx2.AsyncClient, api: str) -> None:
        self._http = http
        self._api = api

    async def send(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], take: Take | None
    ) -> tuple[int, bytes, str]:
        """Send a request and check the answer; `Admin` checks refusals."""
        path = target.partition("?")[0]
        try:
            async with self._http.stream(method, self._api + target, content=body, headers=dict(headers)) as answer:
                if take is not None and answer.status_code == _OK:
                    await self._pass_on(path, answer, take)
                    return _OK, b"", ""
                read = await _read(answer)
                if answer.status_code < _OTHER:
                    answers.check(method, path, read)
                return answer.status_code, read, answer.headers.get("etag", "")
        except httpx2.HTTPError as error:
            raise Unreachable(failure(error, self._api, proxy=find_proxy(self._api))) from error
        except ValueError as error:
            raise RemoteError(
                f"{self._api} does not answer {method} {path} as an admin API does ({error}):"
                " check for another program in front of it, or another version of affiant"
            ) from None

    async def _pass_on(self, path: str, answer: httpx2.Response, take: Take) -> None:
        rest = b""
        async for piece in answer.aiter_bytes():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                answers.check_line(path, line)
                take(line + b"\n")
            _bound(rest, answers.MAX_LINE)
        take(rest)


async def _read(answer: httpx2.Response) -> bytes:
    read = bytearray()
    async for piece in answer.aiter_bytes():
        read += piece
        _bound(read, answers.MAX_ANSWER)
    return bytes(read)


def _bound(read: bytes | bytearray, most: int) -> None:
    if len(read) > most:
        raise ValueError(f"more than {most >> 20} MiB at once")
