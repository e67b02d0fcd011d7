"""Scopes as they are registered: each name is one scope-token, whoever asks."""

from __future__ import annotations

import pytest

from affiant.errors import ConfigError
from affiant.server.registry import rules

NOW = 1_800_000_000


def test_names_are_kept_each_once_in_their_order() -> None:
    assert rules.check_scopes(("b", "a", "b")) == ("b", "a")
    assert rules.check_scopes(()) == ()


@pytest.mark.parametrize("names", [("a b",), ("a", "b c"), ("a", "a b"), (" a",), ("a ",), (" ",), ("",), ("a", "")])
def test_a_name_with_a_space_is_no_name(names: tuple[str, ...]) -> None:
    """It would silently become two scopes, or one less."""
    with pytest.raises(ConfigError, match="without space"):
        rules.check_scopes(names)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\tb", "a\nb", "\u00e9", "a\u00a0b", "a" * 257])
def test_a_name_is_of_printable_ascii(name: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII"):
        rules.check_scopes((name,))


def test_there_are_at_most_64() -> None:
    names = tuple(map(str, range(64)))
    assert rules.check_scopes(names) == names
    with pytest.raises(ConfigError, match="at most 64"):
        rules.check_scopes((*names, "more"))


def test_an_api_knows_no_such_name() -> None:
    with pytest.raises(ConfigError):
        rules.build_api("api", identifier="https://api.example", scopes=("a b",), is_default=False, now=NOW)
