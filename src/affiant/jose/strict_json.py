"""Parse one JSON object or array, and reject what parsers read differently (RFC 7519 section 4, RFC 8259).

Rejected with ValueError: a byte-order mark, text after the value, a member twice, NaN and Infinity, a lone surrogate,
and more than 16 levels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 16
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Attack: an unclosed string. It extends to the end, or the search would start again at each quote and take minutes.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_constant, parse_float=_finite)
_scan: Callable[[str, int], tuple[object, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def parse_object(data: bytes) -> dict[str, Any]:
    value = _parse(data)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - callers catch one kind
    return value


def parse_array(data: bytes) -> list[Any]:
    value = _parse(data)
    if not isinstance(value, list):
        raise ValueError("not an array")  # noqa: TRY004
    return value


def _parse(data: bytes) -> object:
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(data)
    text = data.decode("utf-8")  # UnicodeDecodeError is a ValueError
    value = _decode(text)
    # Only an escape can make a lone surrogate, which cannot be encoded as UTF-8.
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _decode(text: str) -> object:
    # The scanner takes a value without space around it, as every library sends it; the decoder takes any.
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        return _decoder.decode(text)
    return value if end == len(text) else _decoder.decode(text)


def _check_depth(data: bytes) -> None:
    depth = 0
    for token in _BRACKETS.finditer(data):
        if token[0] in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nested too deeply")
        elif token[0] in b"]}":
            depth -= 1


def _check_surrogates(value: object) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ValueError("a lone surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_surrogates(name)
            _check_surrogates(member)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)
