"""authorization_details: rights that are finer than a scope (RFC 9396).

Each entry has a type. Its other members are for the API that knows the type. Only those of RFC 9396 section 2.2 are
checked, and all are passed on unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from affiant.jose.strict_json import parse_array, parse_object

Details = tuple[dict[str, Any], ...]

PARAMETER = "authorization_details"
MAX_BYTES = 4096  # of the JSON text, so that the token is short enough for servers' limits
MAX_ENTRIES = 16
TYPE = re.compile(r"[\x21-\x7e]{1,256}")
_LISTS = ("locations", "actions", "datatypes", "privileges")


def parse(text: str) -> Details:
    """Read the parameter; raise ValueError if it is not 1 to 16 objects of RFC 9396 section 2."""
    data = text.encode()  # UnicodeEncodeError is a ValueError
    if len(data) > MAX_BYTES:
        raise ValueError(f"longer than {MAX_BYTES} bytes")
    entries = parse_array(data)
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise ValueError(f"not 1 to {MAX_ENTRIES} entries")
    for entry in entries:
        _check(entry)
    _check_in_a_token(entries)
    return tuple(entries)


def render(details: Iterable[dict[str, Any]]) -> str:
    return msgspec.json.encode(list(details)).decode()


def is_among(entry: dict[str, Any], granted: Iterable[dict[str, Any]]) -> bool:
    """Whether an equal entry was granted; the order of its members does not matter."""
    # As JSON, because in Python 1, 1.0 and True are equal.
    return _canonical(entry) in map(_canonical, granted)


def check_type(text: str) -> str:
    """Return the text if it can be a type: 1 to 256 printable ASCII characters without a space."""
    if TYPE.fullmatch(text) is None:
        raise ValueError("not the name of a type")
    return text


def locations(entry: dict[str, Any]) -> Sequence[str]:
    """Return the identifiers of the APIs that the entry is for; none for all APIs of the token."""
    found: Sequence[str] = entry.get("locations", ())
    return found


def _canonical(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry, order="sorted")


def _check_in_a_token(entries: list[Any]) -> None:
    """Reject entries that a reader of the token would reject, where they are one level deeper."""
    written = msgspec.json.encode({PARAMETER: entries})
    if len(written) > MAX_BYTES + len(PARAMETER) + 5:
        raise ValueError(f"longer than {MAX_BYTES} bytes")
    parse_object(written)


def _check(entry: object) -> None:
    if not isinstance(entry, dict):
        raise ValueError("an entry is not an object")  # noqa: TRY004 - callers catch one kind
    kind = entry.get("type")
    if not isinstance(kind, str):
        raise ValueError("an entry has no type")  # noqa: TRY004
    check_type(kind)
    for name in _LISTS:
        value = entry.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{name} is not an array of strings")
    if not isinstance(entry.get("identifier", ""), str):
        raise ValueError("identifier is not a string")  # noqa: TRY004
