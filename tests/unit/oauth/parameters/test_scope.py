from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.oauth.parameters import scope

ALPHABET = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\']
NAME = st.text(ALPHABET, min_size=1, max_size=20)


@given(st.lists(NAME, min_size=1, max_size=scope.MAX_NAMES, unique=True))
def test_parse_reads_what_was_rendered(names: list[str]) -> None:
    assert scope.parse(scope.render(names)) == tuple(names)


@given(st.text())
def test_parse_never_fails_otherwise(text: str) -> None:
    try:
        names = scope.parse(text)
    except ValueError:
        return
    assert names
    assert all(character in ALPHABET for name in names for character in name)


@given(st.lists(NAME, min_size=1, max_size=10))
def test_parse_names_each_once_in_order(names: list[str]) -> None:
    assert scope.parse(" ".join(names)) == tuple(dict.fromkeys(names))


@pytest.mark.parametrize(
    "text", ["", " ", "a ", " a", "a  b", "a\tb", "a\nb", 'a"', "a\\", "\u00e9", "\x7f", "\x00", "a\n"]
)
def test_parse_refuses_what_is_no_scope(text: str) -> None:
    with pytest.raises(ValueError, match="not a scope"):
        scope.parse(text)


def test_parse_limits_number_and_length() -> None:
    many = [f"n{number}" for number in range(scope.MAX_NAMES)]
    assert len(scope.parse(" ".join(many))) == scope.MAX_NAMES
    assert scope.parse("x" * 256) == ("x" * 256,)
    for text in (" ".join([*many, "x"]), "x" * 257):
        with pytest.raises(ValueError, match="not a scope"):
            scope.parse(text)


def test_parse_keeps_case() -> None:
    assert scope.parse("Read read") == ("Read", "read")
