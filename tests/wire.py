"""Requests as bare ASGI messages: no HTTP library corrects what a client sends."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp

from affiant.server.request.certificate import PEER

Header = tuple[bytes, bytes]
FORM_TYPE = (b"content-type", b"application/x-www-form-urlencoded")
JSON_TYPE = (b"content-type", b"application/json")
ADDRESS = "203.0.113.7"
_SECRET_PARAMETERS = {
    "client_assertion", "assertion", "client_secret", "refresh_token", "subject_token", "actor_token",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    body: bytes = b""
    method: str = "POST"
    path: str = "/token"
    query: bytes = b""
    headers: tuple[Header, ...] = (FORM_TYPE,)
    pieces: tuple[bytes, ...] = ()  # in place of `body`, where it arrives in several
    is_whole: bool = True  # False: the sender goes away before the end
    is_slow: bool = False  # True: the sender stays and sends no more
    peer: str | None = None  # where the connection comes from, where the server notes that
    address: str = ADDRESS

    def sensitive(self) -> list[str]:
        """Return what must never be logged or sent back."""
        found = [value for name, value in self.values() if name in _SECRET_PARAMETERS]
        return found + [value.decode("latin-1") for name, value in self.headers if name == b"authorization"]

    def values(self) -> list[tuple[str, str]]:
        return parse_qsl((self.body + b"&" + self.query).decode("utf-8", "replace"), errors="replace")

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "https",
            "server": ("as.example", 443),
            "root_path": "",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "headers": list(self.headers),
            "client": (self.address, 4711),
            PEER: self.peer,
        }


@dataclass(frozen=True)
class Reply:
    status: int
    sent_headers: tuple[Header, ...]
    body: bytes
    taken: int  # bytes of the request's body that the server read

    @property
    def headers(self) -> dict[str, str]:
        found = {name.decode(): value.decode("latin-1") for name, value in self.sent_headers}
        assert len(found) == len(self.sent_headers), "a header is there twice"
        return found

    def json(self) -> dict[str, Any]:
        members: dict[str, Any] = json.loads(self.body)
        return members


def headers(named: Mapping[str, str]) -> tuple[Header, ...]:
    return tuple((name.encode(), value.encode()) for name, value in named.items())


def post(members: Mapping[str, str] | str, *more: Header, path: str = "/token") -> Request:
    """Return a request with this form, or with this text as its body."""
    body = members if isinstance(members, str) else urlencode(members)
    return Request(body.encode(), path=path, headers=(FORM_TYPE, *more))


def document(members: object, *more: Header, method: str = "POST", path: str) -> Request:
    """Return a request with this JSON."""
    return Request(json.dumps(members).encode(), method, path, headers=(JSON_TYPE, *more))


async def send(app: ASGIApp, request: Request, replies: list[Reply] | None = None) -> Reply:
    """Return the reply; it is added to `replies` too, where the server may raise after it."""
    pieces, sent, answered = list(request.pieces or (request.body,)), list[Any](), asyncio.Event()
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if not pieces:
            if request.is_slow:
                await asyncio.Event().wait()
            # A client that has sent all of its request waits for the answer.
            await (answered.wait() if request.is_whole else asyncio.sleep(0))
            return {"type": "http.disconnect"}
        taken += len(pieces[0])
        more = len(pieces) > 1 or request.is_slow or not request.is_whole
        return {"type": "http.request", "body": pieces.pop(0), "more_body": more}

    async def put(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    try:
        await app(request.scope(), receive, put)
    finally:
        if replies is not None and sent:
            replies.append(_reply(sent, taken))
    return _reply(sent, taken)


def _reply(sent: list[Any], taken: int) -> Reply:
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Reply(sent[0]["status"], tuple(sent[0]["headers"]), body, taken)
