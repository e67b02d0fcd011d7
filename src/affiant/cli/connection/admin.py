"""Ask the admin API, and turn its refusals into errors."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from affiant.cli.arguments import as_typed
from affiant.errors import ConfigError, Refused, RemoteError, StoreError
from affiant.server.admin.roles import PATH
from affiant.storage.records import AlreadyExists, NotFound
from affiant.system.text import printable

Take = Callable[[bytes], object]
# From method, target, body, headers and the receiver of a streamed answer to status, body and ETag.
Send = Callable[[str, str, bytes | None, Mapping[str, str], Take | None], Awaitable[tuple[int, bytes, str]]]

_OK, _OTHER = 200, 300
LINES = {"accept": "application/jsonl"}
_DENIED, _FAILED, _STORE = (401, 403, 429), 500, 503
# The detail of these is a sentence about the mistake; other details say what would have been right.
_IN_A_SENTENCE = {"admin.not_found": NotFound, "admin.exists": AlreadyExists, "admin.invalid": ConfigError}


class Admin:
    """The admin API of one server; each method raises an `Error` if it refuses or cannot be reached."""

    def __init__(self, send: Send, issuer: str) -> None:
        self._send = send
        self.issuer = issuer

    async def get(self, path: str, **query: Any) -> Any:
        return (await self._ask("GET", path, query=query))[0]

    async def read(self, path: str) -> tuple[Any, str]:
        """Return a document and its ETag."""
        return await self._ask("GET", path)

    async def post(self, path: str, members: Mapping[str, Any] | None = None) -> Any:
        return (await self._ask("POST", path, members))[0]

    async def patch(self, path: str, members: Mapping[str, Any], *, etag: str | None = None) -> Any:
        """Change a document; with an ETag, only if it is unchanged since."""
        return (await self._ask("PATCH", path, members, etag=etag))[0]

    async def delete(self, path: str, *, etag: str | None = None) -> Any:
        """Remove a document; with an ETag, only if it is unchanged since."""
        return (await self._ask("DELETE", path, etag=etag))[0]

    async def all(self, path: str, **query: Any) -> list[Any]:
        """Return every item of a list."""
        items: list[Any] = []
        await self.lines(path, lambda line: items.append(json.loads(line)), **query)
        return items

    async def lines(self, path: str, take: Take, **query: Any) -> None:
        """Pass on every item of a list as it arrives, one line of JSON each."""
        rest = b""

        def feed(piece: bytes) -> None:
            nonlocal rest
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                take(line)

        status, body, _ = await self._send("GET", _target(path, query), None, LINES, feed)
        if status != _OK:
            _fail(status, body, self.issuer)
        if rest:
            raise RemoteError(f"{self.issuer}{PATH} ended the list in the middle of a line: try again")

    async def _ask(
        self,
        method: str,
        path: str,
        members: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        etag: str | None = None,
    ) -> tuple[Any, str]:
        headers = {"if-match": etag} if etag is not None else {}
        body = None
        if members is not None:
            headers["content-type"], body = "application/json", json.dumps(members).encode()
        status, answer, found = await self._send(method, _target(path, query or {}), body, headers, None)
        if status >= _OTHER:
            _fail(status, answer, self.issuer)
        return json.loads(answer) if answer else None, found


def segment(name: str) -> str:
    """Return a name as a segment of a path; raise NotFound if none can be this name (RFC 3986 section 5.2.4)."""
    if name in ("", ".", ".."):
        raise NotFound(f"there is nothing named {name!r}")
    return quote(name, safe="")


def _target(path: str, query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _fail(status: int, body: bytes, issuer: str) -> NoReturn:
    """Raise the error that the server itself would have raised."""
    try:
        problem: dict[str, Any] = json.loads(body)
        # Attack: a hostile server sends control characters to the terminal.
        reason, title, detail = (printable(str(problem[name])) for name in ("reason", "title", "detail"))
        trace_id, page = (printable(str(problem[name])) for name in ("trace_id", "type"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RemoteError(f"{issuer}{PATH} answered {status}, and not as an admin API does") from None
    if reason in _IN_A_SENTENCE:
        raise _IN_A_SENTENCE[reason](as_typed(detail))
    if status == _STORE:
        raise StoreError(title)
    what = f"{title} ({detail})"
    if status in _DENIED or status >= _FAILED or reason in ("admin.last_owner", "admin.changed"):
        raise Refused(reason, description=what, trace_id=trace_id, status=status, error_uri=page)
    raise ConfigError(what)
