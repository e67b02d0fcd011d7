"""HTTP for the endpoints that take a form: read it within its limits, answer it whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from affiant.errors import Rejected
from affiant.oauth import form
from affiant.reasons import Reason
from affiant.values import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FORM_TYPE = re.compile(rb'application/x-www-form-urlencoded[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?', re.IGNORECASE)
# No parameter of a token request may stand in the URL: URLs are logged (RFC 6749 section 2.3.1).
_IN_QUERY = re.compile(
    rb"(?:^|&)(?:grant_type|client_id|client_secret|client_assertion|client_assertion_type|assertion"
    rb"|refresh_token|scope|resource|token|code|password)=",
    re.IGNORECASE,
)
_UNSPEAKABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_MAX_SENTENCE = 400
JSON_HEADERS = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
]


class Answer(Value, frozen=True):
    """A whole HTTP answer."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"members"})

    status: int
    members: dict[str, Any]
    headers: Sequence[tuple[bytes, bytes]] = ()


def header(scope: Scope, name: bytes) -> list[bytes]:
    """Every value of a header; the name in lower case."""
    return [value for key, value in scope["headers"] if key == name]


async def read_form(scope: Scope, receive: Receive) -> form.Form:
    """The form of a POST (rung 1).

    Raises:
        Rejected: a reason of rung 1.
    """
    if scope["method"] != "POST":
        raise Rejected(Reason.METHOD)
    if _IN_QUERY.search(scope["query_string"]):
        raise Rejected(Reason.IN_QUERY)
    types = header(scope, b"content-type")
    if len(types) != 1 or _FORM_TYPE.fullmatch(types[0].strip()) is None:
        raise Rejected(Reason.CONTENT_TYPE, expected="application/x-www-form-urlencoded")
    return form.parse(await _read(receive))


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body") or len(body) > form.MAX_BYTES:
        parts, size = [body], len(body)
        while message.get("more_body") and size <= form.MAX_BYTES:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > form.MAX_BYTES:
            raise Rejected(Reason.TOO_LARGE)
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise Rejected(Reason.BAD_FRAMING)
    return body


async def respond(send: Send, answer: Answer) -> None:
    """Send it."""
    body = msgspec.json.encode(answer.members)
    headers = [*JSON_HEADERS, (b"content-length", b"%d" % len(body)), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def speakable(text: str) -> str:
    """The text in the characters that error_description may have (RFC 6749 section 5.2), and not too long."""
    return _UNSPEAKABLE.sub("'", text)[:_MAX_SENTENCE]
