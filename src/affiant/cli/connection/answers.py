"""What a server elsewhere answers, looked at before it is used: it may be no admin API that answers, or a hostile one.

After that every member has its type, no number is beyond what an instant can be, and nothing that is printed as it
stands has anything in it that a terminal obeys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from affiant.server.admin import documents
from affiant.storage import audit_chain

MAX_ANSWER, MAX_LINE = 64 << 20, 4 << 20  # bytes: a page of audit records, and one item of a list
_LARGEST = 10**11  # the year 5138, as documents.Seconds
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# By route, as it is declared; a test compares them. A literal path stands before one that has its place for a name.
DOCUMENTS: dict[str, Any] = {
    "POST /clients": documents.RegisteredClient,
    "GET /clients/{client_id}": documents.UsedClient,
    "PATCH /clients/{client_id}": documents.ChangedClient,
    "GET /clients/{client_id}/keys": list[documents.HeldKey],
    "POST /clients/{client_id}/keys": documents.Client,
    "POST /clients/{client_id}/keys/complete": documents.Client,
    "POST /clients/{client_id}/keys/cancel": documents.Client,
    "POST /clients/{client_id}/keys/revoke": documents.Client,
    "POST /clients/{client_id}/secrets": documents.RegisteredClient,
    "POST /clients/{client_id}/secrets/complete": documents.Client,
    "POST /clients/{client_id}/secrets/cancel": documents.Client,
    "POST /clients/{client_id}/secrets/revoke": documents.Client,
    "POST /apis": documents.Api,
    "GET /apis/{identifier:path}": documents.Api,
    "PATCH /apis/{identifier:path}": documents.Api,
    "POST /initial-access-tokens": documents.IssuedInitialAccessToken,
    "GET /tokens/{jti}": documents.FoundToken,
    "POST /revocations": documents.Revocation,
    "GET /audit": documents.page(documents.AuditRow),
    "GET /audit/head": documents.AuditHead,
    "GET /audit/verification": documents.Verification,
    "GET /audit/{trace_id}": dict[str, Any],
    "POST /dry-run": documents.Judgement,
    "POST /explain": documents.Explanation,
    "GET /explain/{trace_id}": documents.Explanation,
    "GET /settings": list[documents.Setting],
    "POST /signing-keys": documents.SigningKey,
    "DELETE /signing-keys/{kid}": documents.RemovedSigningKey,
}
ITEMS: dict[str, Any] = {
    "/clients": documents.UsedClient,
    "/apis": documents.Api,
    "/grants": documents.Grant,
    "/initial-access-tokens": documents.InitialAccessToken,
    "/refresh-tokens": documents.RefreshToken,
    "/revocations": documents.Revocation,
    "/signing-keys": documents.SigningKey,
    "/audit": documents.AuditRow,
}
# They tell of what anybody sent, and whoever prints them escapes it.
_ESCAPED = ("GET /audit", "GET /audit/{trace_id}", "POST /explain", "GET /explain/{trace_id}", "GET /settings")


def check(method: str, path: str, body: bytes) -> None:
    """Let pass what this route answers."""
    route = next((route for route in DOCUMENTS if _is(route, method, path)), None)
    if route is not None:
        _check(DOCUMENTS[route], body, is_escaped=route in _ESCAPED)
    elif body:
        raise ValueError("there should be no content")


def check_line(path: str, line: bytes) -> None:
    """Let pass an item of this list."""
    if path == "/audit/export":
        audit_chain.parse_line(line)
    else:
        _check(ITEMS[path], line, is_escaped=f"GET {path}" in _ESCAPED)


def _check(document: Any, body: bytes, *, is_escaped: bool) -> None:
    try:
        TypeAdapter(document).validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}") from None
    strings = _strings(json.loads(body, parse_int=_number, parse_float=_number, parse_constant=_number))
    if not is_escaped and any(map(_CONTROLS.search, strings)):
        raise ValueError("control characters")


def _is(route: str, method: str, path: str) -> bool:
    verb, template = route.split(" ")
    wanted, given = template.split("/"), path.split("/")
    return (
        verb == method
        and len(wanted) == len(given)
        and all(name.startswith("{") or name == part for name, part in zip(wanted, given, strict=True))
    )


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) <= _LARGEST:  # nor is NaN
        raise ValueError("a number that is too large")
    return number


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.items() if isinstance(value, dict) else value:
            yield from _strings(list(part) if isinstance(part, tuple) else part)
