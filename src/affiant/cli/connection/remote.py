"""The admin API of a remote server: over HTTP, with a token for the client of a credentials file.

Its answers are checked before they are used: another program may answer, or a hostile server. After the check every
member has its type, no number is beyond what an instant can be, and no text that is printed unescaped contains control
characters.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import TypeAdapter, ValidationError

from affiant.cli.connection.admin import Admin, Take
from affiant.cli.tokens import options
from affiant.client.identity import Service
from affiant.errors import ConfigError, Refused, RemoteError, Unreachable
from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.roles import PATH
from affiant.server.admin.routes.operation import Operation
from affiant.storage.history import audit_chain
from affiant.system.network import async_http_client, failure, find_proxy

Result = TypeVar("Result")
_OK, _OTHER = 200, 300
MAX_ANSWER, MAX_LINE = 64 << 20, 4 << 20  # bytes: a page of audit records, and one item of a list
_LARGEST = 10**11  # the year 5138, as documents.Seconds
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# These quote text of any sender; the commands escape it.
_ESCAPED = ("GET /audit", "GET /audit/{trace_id}", "POST /explain", "GET /explain/{trace_id}", "GET /settings")


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
                    check_answer(method, path, read)
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
                check_line(path, line)
                take(line + b"\n")
            _bound(rest, MAX_LINE)
        take(rest)


async def _read(answer: httpx2.Response) -> bytes:
    read = bytearray()
    async for piece in answer.aiter_bytes():
        read += piece
        _bound(read, MAX_ANSWER)
    return bytes(read)


def _bound(read: bytes | bytearray, most: int) -> None:
    if len(read) > most:
        raise ValueError(f"more than {most >> 20} MiB at once")


def check_answer(method: str, path: str, body: bytes) -> None:
    """Raise ValueError if this route does not answer so."""
    route = _route(method, path)
    if route.answers is not None:
        _check_form(route, TypeAdapter(route.answers), body)
    elif body:
        raise ValueError("there should be no content")


def check_line(path: str, line: bytes) -> None:
    """Raise ValueError if this list has no such item."""
    if path == "/audit/export":
        audit_chain.parse_line(line)
        return
    _check_form(_route("GET", path), _item(path), line)


@cache
def _item(path: str) -> TypeAdapter[Any]:
    (item,) = _route("GET", path).answers.__annotations__["items"].__args__
    return TypeAdapter(item)


@cache
def _route(method: str, path: str) -> Operation:
    """Return the route of a request; a literal path is declared before one with a name in its place."""
    given = path.split("/")
    return next(route for route in OPERATIONS if route.method == method and _has(route.path.split("/"), given))


def _has(wanted: list[str], given: list[str]) -> bool:
    return len(wanted) == len(given) and all(
        name.startswith("{") or name == part for name, part in zip(wanted, given, strict=True)
    )


def _check_form(route: Operation, document: TypeAdapter[Any], body: bytes) -> None:
    try:
        document.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}") from None
    strings = _strings(json.loads(body, parse_int=_number, parse_float=_number, parse_constant=_number))
    if f"{route.method} {route.path}" not in _ESCAPED and any(map(_CONTROLS.search, strings)):
        raise ValueError("control characters")


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) <= _LARGEST:  # nor is NaN
        raise ValueError("a number that is too large")
    return number


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _strings(member)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
