"""Check the answers of a remote admin API before they are used: another program may answer, or a hostile server.

After the check every member has its type, no number is beyond what an instant can be, and no text that is printed
unescaped contains control characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.routes.operation import Operation
from affiant.storage import audit_chain

MAX_ANSWER, MAX_LINE = 64 << 20, 4 << 20  # bytes: a page of audit records, and one item of a list
_LARGEST = 10**11  # the year 5138, as documents.Seconds
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# These quote text of any sender; the commands escape it.
_ESCAPED = ("GET /audit", "GET /audit/{trace_id}", "POST /explain", "GET /explain/{trace_id}", "GET /settings")


def check(method: str, path: str, body: bytes) -> None:
    """Raise ValueError if this route does not answer so."""
    route = _route(method, path)
    if route.answers is not None:
        _check(route, TypeAdapter(route.answers), body)
    elif body:
        raise ValueError("there should be no content")


def check_line(path: str, line: bytes) -> None:
    """Raise ValueError if this list has no such item."""
    if path == "/audit/export":
        audit_chain.parse_line(line)
        return
    _check(_route("GET", path), _item(path), line)


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


def _check(route: Operation, document: TypeAdapter[Any], body: bytes) -> None:
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
