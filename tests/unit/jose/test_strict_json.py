"""The strict parser takes linear time."""

import contextlib
import json
import time

import pytest

from affiant.jose import strict_json

LONGEST = 65_536  # bytes of the longest body that is read
MAX_SECONDS = 1.0  # on any machine; what grows with the square of the length takes half a minute
FLAT = b'{"a":[' + b"[]," * 17

HOSTILE = {
    "a string that is not closed": FLAT + b'"' + b'\\"' * LONGEST,
    "a backslash at the end": FLAT + b'"x' + b"\\" * LONGEST,
    "many strings": FLAT + b'""' * LONGEST,
    "many brackets": FLAT + b"[]," * LONGEST,
    "many members": b"{" + b",".join(b'"%d":0' % number for number in range(8_000)) + b"}",
    "escapes": FLAT + b'"' + b"\\u0041" * LONGEST,
    "a long number": b'{"a":' + b"9" * 60_000 + b"}",
    "spaces": b" " * LONGEST,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_reading_takes_no_longer_than_the_bytes_are_long(name: str) -> None:
    begin = time.perf_counter()
    with contextlib.suppress(ValueError):
        strict_json.parse_object(HOSTILE[name][:LONGEST])
    assert time.perf_counter() - begin < MAX_SECONDS


@pytest.mark.parametrize("text", ["[" * 20, "[" * 20 + '\\"', "\\\\", "\\u005b" * 20, "{" * 20 + "\\\\"])
def test_brackets_within_strings_nest_nothing(text: str) -> None:
    data = f'{{"a":"{text}","b":[[],[],[]]}}'
    assert strict_json.parse_object(data.encode()) == json.loads(data)


@pytest.mark.parametrize("before", ["", '"\\\\",', '"\\"",', '"[",', '"]]]]",'])
def test_deep_nesting_is_rejected_after_any_string(before: str) -> None:
    deep = "[" * strict_json.MAX_DEPTH + "]" * strict_json.MAX_DEPTH
    with pytest.raises(ValueError, match="nested too deeply"):
        strict_json.parse_object(f'{{"a":[{before}{deep}]}}'.encode())
