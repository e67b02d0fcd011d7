"""The admin API, called in this process: a page reads and changes nothing by another road.

So every call has its role, its limits, its conditions and its audit record, whether a page or a program makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from affiant.errors import ConfigError
from affiant.server.admin import app
from affiant.server.admin.calls import AdminContext
from affiant.server.admin.roles import Principal
from affiant.server.request import http
from affiant.system.values import Value

_PRINCIPAL = "affiant.principal"  # in the scope of a call
_OK = 200


# Attack: a name that is another operation's path: the record `export` would be the whole log, read by one link.
_SEGMENTS = frozenset(segment for one in app.OPERATIONS for segment in one.path[1:].split("/") if "{" not in segment)


class Ask(Value, frozen=True):
    """A request to the admin API; `path` is below it, with its names percent-encoded (`at`)."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    if_match: str | None = None
    query: dict[str, str] | None = None


class Answer(Value, frozen=True):
    """An accepted request: the document, and the trace id of its audit record."""

    status: int
    document: Any
    etag: str | None
    trace_id: str


class Gone(Exception):
    """The browser went away before its page was made, and takes no answer."""


class Refusal(Exception):
    """A request that the admin API has refused; the attributes are those of its problem details (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail") or problem.get("title"))
        self.status: int = problem.get("status", 500)
        self.title: str = problem.get("title", "")
        self.detail: str = problem.get("detail", "")
        self.reason: str = problem.get("reason", "")
        self.trace_id: str = problem.get("trace_id", "")


class Gate:
    """The admin API of this server, for callers that the console has authenticated."""

    def __init__(self, context: AdminContext, *, clock: Callable[[], float]) -> None:
        self._endpoint = app.build(context, clock=clock, authenticate=_authenticate)
        self._clock = clock

    def open(self, principal: Principal, scope: http.Scope, receive: http.Receive) -> Api:
        """Return the admin API as this caller uses it; a long read ends when he disconnects."""
        return Api(self._endpoint, principal, scope, receive, now=self._clock())


class Api:
    """The admin API for one caller; `now` is when he asked, in seconds since the epoch."""

    def __init__(
        self, endpoint: app.AdminEndpoint, principal: Principal, scope: http.Scope, receive: http.Receive, *, now: float
    ) -> None:
        self.now = now
        self._endpoint = endpoint
        self._scope = {_PRINCIPAL: principal, "client": scope.get("client"), "asgi": scope.get("asgi", {})}
        self._receive = receive

    async def get(self, path: str, **query: Any) -> Any:
        """Return the document at this path; a parameter that is None is left out. Raises Refusal."""
        return (await self.read(path, **query)).document

    async def read(self, path: str, **query: Any) -> Answer:
        """Return the answer with its ETag. Raises Refusal."""
        given = urlencode({name: value for name, value in query.items() if value is not None})
        return await self._call("GET", path, given, None, [])

    async def send(self, ask: Ask) -> Answer:
        """Send a change. Raises Refusal, and ConfigError for values that no JSON has."""
        headers = [(b"if-match", ask.if_match.encode())] if ask.if_match is not None else []
        body = _encode(ask.body) if ask.body is not None else None
        if body is not None:
            headers.append((b"content-type", b"application/json"))
        return await self._call(ask.method, ask.path, urlencode(ask.query or {}), body, headers)

    async def stream(self, path: str, send: http.Send, *, headers: list[tuple[bytes, bytes]], **query: Any) -> None:
        """Send all of a list as JSON Lines (application/jsonl) to the reader, with these headers added."""
        given = urlencode({name: value for name, value in query.items() if value is not None})

        async def forward(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        scope = self._build("GET", path, given, [(b"accept", b"application/jsonl")])
        await self._endpoint(scope, _once(b"", self._receive), forward)

    async def _call(
        self, method: str, path: str, query: str, body: bytes | None, headers: list[tuple[bytes, bytes]]
    ) -> Answer:
        status, sent, received = _OK, dict[bytes, bytes](), bytearray()

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            sent.update((name.lower(), value) for name, value in message.get("headers", ()))
            received.extend(message.get("body", b""))

        await self._endpoint(self._build(method, path, query, headers), _once(body or b"", self._receive), send)
        if not sent:  # a long read ends without an answer when its reader disconnects
            raise Gone
        document = msgspec.json.decode(bytes(received)) if received else None
        if status >= 400:  # noqa: PLR2004 - RFC 9110 section 15.5
            raise Refusal(document if isinstance(document, dict) else {"status": status})
        etag = sent.get(b"etag")
        return Answer(status, document, etag.decode() if etag is not None else None, sent[b"x-trace-id"].decode())

    def _build(self, method: str, path: str, query: str, headers: list[tuple[bytes, bytes]]) -> http.Scope:
        raw = f"{self._endpoint.prefix}{path}"
        return {
            **self._scope,
            "type": "http",
            "method": method,
            "path": raw,
            "raw_path": raw.encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": headers,
        }


def at(path: str, *names: str) -> str:
    """Return the path with these names in the places of its braces: ``at("/clients/{}", "a/b")``."""
    return path.format(*map(_segment, names))


def _segment(name: str) -> str:
    # Routes match the path as it was sent, so an escaped letter makes it no segment of another route.
    return f"%{ord(name[0]):02X}{name[1:]}" if name in _SEGMENTS else quote(name, safe="")


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (ValueError, RecursionError):  # half of a surrogate pair, by an escape in pasted JSON
        raise ConfigError("a pasted document has text that is not Unicode, or is nested too deep") from None


def _once(body: bytes, receive: http.Receive) -> http.Receive:
    pending = [body]

    async def receive_once() -> Any:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return receive_once


async def _authenticate(scope: http.Scope, _: float) -> Principal:
    principal: Principal = scope[_PRINCIPAL]
    return principal
