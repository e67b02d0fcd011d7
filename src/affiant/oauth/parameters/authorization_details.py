"""authorization_details: what a client may do, said finer than by a scope (RFC 9396).

Each entry has a type. What else it says is for the API that knows the type: here it is carried unchanged, and only the
members that RFC 9396 section 2.2 defines are held to their kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from affiant.jose.strict_json import parse_array, parse_object

Details = tuple[dict[str, Any], ...]

PARAMETER = "authorization_details"
MAX_BYTES = 4096  # of the JSON text: with everything else, a token must stay short enough to be taken
MAX_ENTRIES = 16
TYPE = re.compile(r"[\x21-\x7e]{1,256}")
_LISTS = ("locations", "actions", "datatypes", "privileges")


def parse(text: str) -> Details:
    """The entries of the parameter."""
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
    """The JSON text of these entries."""
    return msgspec.json.encode(list(details)).decode()


def is_among(entry: dict[str, Any], granted: Iterable[dict[str, Any]]) -> bool:
    """Whether the very same entry was granted; the order of its members does not count."""
    # As JSON, because Python takes 1, 1.0 and true for the same.
    return _canonical(entry) in map(_canonical, granted)


def check_type(text: str) -> str:
    """The same text, when it can be a type: 1 to 256 printable ASCII characters without a space."""
    if TYPE.fullmatch(text) is None:
        raise ValueError("not the name of a type")
    return text


def locations(entry: dict[str, Any]) -> Sequence[str]:
    """Where the entry applies: the identifiers of APIs; none for wherever the token does."""
    found: Sequence[str] = entry.get("locations", ())
    return found


def _canonical(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry, order="sorted")


def _check_in_a_token(entries: list[Any]) -> None:
    """Let entries pass that can be written, and be read where they will stand, one level deeper than they came."""
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
