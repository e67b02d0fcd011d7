"""HTTP for the endpoints: read a form or a JSON object within its limits, send an answer."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

import msgspec

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import strict_json
from affiant.oauth.parameters import form
from affiant.system.values import Value

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FORM_TYPE = re.compile(rb'application/x-www-form-urlencoded[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?', re.IGNORECASE)
_JSON_TYPE = re.compile(rb'application/json[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?', re.IGNORECASE)
# No parameter of a token request may be in the URL: URLs are logged (RFC 6749 section 2.3.1).
_IN_QUERY = re.compile(
    rb"(?:^|&)(?:grant_type|client_id|client_secret|client_assertion|client_assertion_type|assertion"
    rb"|refresh_token|subject_token|actor_token|scope|resource|authorization_details|token|code|password)=",
    re.IGNORECASE,
)
_UNSPEAKABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_MAX_SENTENCE = 400
NO_SNIFF = {"X-Content-Type-Options": "nosniff"}
NO_STORE = {"Cache-Control": "no-store", **NO_SNIFF}
HEADERS = [(name.lower().encode(), value.encode()) for name, value in (NO_STORE | {"Pragma": "no-cache"}).items()]
NO_CONTENT = 204
JSON = b"application/json"


class Answer(Value, frozen=True):
    """An HTTP answer: a JSON object, or else these bytes, or else a stream of them."""

    HIDDEN = frozenset({"members", "body"})

    status: int
    members: dict[str, Any] | Value  # of the JSON object that is its body
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes | None = None  # instead of that object
    media_type: bytes = JSON
    stream: AsyncGenerator[bytes, None] | None = None


def header(scope: Scope, name: bytes) -> list[bytes]:
    """Return every value of a header; the name in lower case."""
    return [value for key, value in scope["headers"] if key == name]


async def read_form(scope: Scope, receive: Receive, *methods: str) -> form.Form:
    """Return the form of a POST, or of a request by one of these methods (step 1)."""
    check_form(scope, *(methods or ("POST",)))
    return form.parse(await read_body(receive))


def check_form(scope: Scope, *methods: str) -> None:
    """Check that the request, by one of these methods, has a form as its body."""
    check_method(scope, *methods)
    if scope["query_string"] and _IN_QUERY.search(scope["query_string"]):
        raise Rejected(Reason.IN_QUERY)
    if not _is_type(scope, _FORM_TYPE):
        reason = Reason.CONTENT_TYPE if _has_content(scope) else Reason.NO_BODY
        raise Rejected(reason, expected="application/x-www-form-urlencoded")


async def read_object(scope: Scope, receive: Receive) -> dict[str, Any]:
    """Return the JSON object of a registration (RFC 7591 section 3.1)."""
    if not _is_type(scope, _JSON_TYPE):
        raise Rejected(Reason.REGISTRATION_CONTENT_TYPE, expected="application/json")
    body = await read_body(receive)
    try:
        return strict_json.parse_object(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.REGISTRATION_JSON, detail=str(error)[:100]) from None


def check_method(scope: Scope, *allowed: str) -> None:
    if scope["method"] not in allowed:
        raise Rejected(Reason.METHOD, expected=", ".join(allowed))


def _has_content(scope: Scope) -> bool:
    # RFC 9112 section 6.3.
    named = (b"content-type", b"content-length", b"transfer-encoding")
    return any(value.strip() != b"0" for name in named for value in header(scope, name))


def _is_type(scope: Scope, wanted: re.Pattern[bytes]) -> bool:
    types = header(scope, b"content-type")
    return len(types) == 1 and wanted.fullmatch(types[0].strip()) is not None


async def read_body(receive: Receive) -> bytes:
    """Return the body, up to 64 KiB."""
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


async def no_body() -> MutableMapping[str, Any]:
    """Receive the body of a request without one."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def respond(
    send: Send,
    answer: Answer,
    also: Iterable[tuple[bytes, bytes]] = (),
    *,
    always: Iterable[tuple[bytes, bytes]] = HEADERS,
) -> None:
    """Send the answer; `also` are more headers, `always` those that keep it out of caches."""
    if answer.stream is not None:
        await _stream(send, answer, answer.stream, also)
        return
    body = msgspec.json.encode(answer.members) if answer.body is None else answer.body
    # RFC 9110 section 8.6: without content there is no Content-Length and no Content-Type.
    content = [(b"content-type", answer.media_type), (b"content-length", b"%d" % len(body))]
    headers = [*(content if answer.status != NO_CONTENT else ()), *always, *answer.headers, *also]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(
    send: Send, answer: Answer, stream: AsyncGenerator[bytes, None], also: Iterable[tuple[bytes, bytes]]
) -> None:
    headers = [(b"content-type", answer.media_type), *HEADERS, *answer.headers, *also]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async with contextlib.aclosing(stream):
        async for piece in stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def speakable(text: str) -> str:
    """Return the text in the characters of an error_description (RFC 6749 section 5.2), cut to its length."""
    return _UNSPEAKABLE.sub("'", text)[:_MAX_SENTENCE]
