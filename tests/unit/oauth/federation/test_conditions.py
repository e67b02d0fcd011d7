"""Conditions, as properties: nothing matches but an equal value of the same type, or what begins as a prefix says."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.platforms import clouds
from tests.platforms.token import pointer_to
from tests.platforms.traps import GOOD

from affiant.oauth.federation.conditions import (
    MAX_CLAIM,
    MAX_DEPTH,
    MAX_VALUE,
    check_claim,
    check_value,
    find,
    holds,
    matches,
)

# Few letters, so that texts meet; and all that has fooled comparisons elsewhere.
PIECES = st.sampled_from(
    [
        "a",
        "A",
        "main",
        ":",
        "/",
        "@",
        "*",
        "%3A",
        "%2F",
        "\n",
        "\r\n",
        "\0",
        " ",
        ".",
        "1",
        "\u017f",
        "é",
        "e\u0301",
        "\u200b",
    ]
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)
SCALARS = st.one_of(TEXTS, st.booleans(), st.integers(-2, 2), st.integers(), st.sampled_from(["true", "1", "0", ""]))
JSON = st.recursive(
    st.one_of(SCALARS, st.none(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


def _is_condition(value: object) -> bool:
    try:
        check_value(value)
    except ValueError:
        return False
    return True


def _segments(text: str) -> list[str]:
    """The parts between ":" and "/", and these."""
    return re.split(r"([:/])", text)


CONDITIONS = st.one_of(SCALARS, TEXTS.map(lambda text: f"{text}*"), TEXTS.map(lambda text: f"{text}**")).filter(
    _is_condition
)


@given(value=JSON, expected=CONDITIONS)
@example(value="main\n", expected="main")
@example(value="Main", expected="main")
@example(value="main\0", expected="main")
@example(value=1.0, expected=1)
@example(value=1.9, expected=1)
@example(value=True, expected=1)
@example(value="true", expected=True)
@example(value=["main"], expected="main")
@example(value="a:b", expected="a*")
@example(value="a", expected="a*")
@example(value="a\n", expected="a*")
def test_match_is_an_equal_value_or_one_segment_more_or_a_deep_prefix(value: Any, expected: Any) -> None:
    if not matches(value, expected):
        return
    assert type(value) is type(expected)
    if not isinstance(expected, str) or not expected.endswith("*"):
        assert value == expected
    elif expected.endswith("**"):
        assert value.startswith(expected[:-2])
        assert len(value) > len(expected) - 2
    else:
        *first, last = _segments(value)
        *wanted, begin = _segments(expected[:-1])
        assert first == wanted
        assert last.startswith(begin)
        assert last != begin


@given(text=TEXTS.filter(_is_condition))
def test_every_exact_value_matches_itself(text: str) -> None:
    assume(not text.endswith("*"))
    assert matches(text, text)


@given(text=TEXTS.filter(bool), more=TEXTS.filter(bool))
def test_every_prefix_matches_what_begins_so(text: str, more: str) -> None:
    assume("*" not in text)
    assert matches(text + more, f"{text}**")
    assert matches(text + more, f"{text}*") == (not re.search("[:/]", more))
    assert not matches(text, f"{text}*")


@given(
    text=TEXTS.filter(lambda text: bool(text) and not text.endswith("*")),
    change=st.sampled_from(
        [
            *(lambda text: text + "\n", lambda text: "\n" + text, lambda text: text + "\0", lambda text: text + " "),
            *(str.swapcase, str.casefold, str.strip, lambda text: text.replace(":", "%3A")),
            *(lambda text: text.replace("%3A", ":"), lambda text: text.replace("e\u0301", "é")),
            *(lambda text: text + "*", lambda text: text + "/", lambda text: text[:-1]),
        ]
    ),
)
def test_text_that_is_written_otherwise_is_another(text: str, change: Any) -> None:
    assert matches(change(text), text) == (change(text) == text)


@given(value=JSON, expected=st.lists(CONDITIONS, max_size=4))
def test_one_of_several_is_enough_and_none_is_not(value: Any, expected: list[Any]) -> None:
    assert holds(value, expected) == any(matches(value, one) for one in expected)
    assert not holds(value, [])


@pytest.mark.parametrize("came", ["true", True, 1, 1.0, "1", "True", None, [True], {"true": True}])
@pytest.mark.parametrize("wanted", ["true", True, 1, "1", "True"])
def test_types_are_told_apart(came: object, wanted: Any) -> None:
    assert matches(came, wanted) == (type(came) is type(wanted) and came == wanted)


@given(
    names=st.lists(st.one_of(TEXTS, st.sampled_from(["~", "~1", "~01", "a/b", ""])), min_size=1, max_size=MAX_DEPTH),
    value=SCALARS,
)
@example(names=["https://sts.amazonaws.com/", "aws_account"], value="123456789012")
@example(names=["~01", "~1"], value="x")
def test_pointer_finds_the_member_of_these_names(names: list[str], value: Any) -> None:
    document: dict[str, Any] = {names[-1]: value}
    for name in reversed(names[:-1]):
        document = {name: document}
    pointer = check_claim(pointer_to(*names))
    assert find(document, pointer) is value
    for array in ([document], [value]):
        assert find({names[0]: array}, f"{pointer_to(names[0])}/0") is None


@given(document=st.dictionaries(TEXTS, JSON, max_size=4), claim=st.one_of(TEXTS, TEXTS.map(lambda text: f"/{text}")))
def test_any_claim_of_any_document_is_found_or_none(document: dict[str, Any], claim: str) -> None:
    try:
        check_claim(claim)
    except ValueError:
        return
    found = find(document, claim)
    assert found is None or found in _values(document)


def _values(document: Any) -> list[Any]:
    inner = document.values() if isinstance(document, Mapping) else []
    return [*inner, *(value for one in inner for value in _values(one))]


def test_name_without_a_slash_is_of_the_top_alone() -> None:
    claims = dict(clouds.aws().claims)
    assert find(claims, "aws_account") is None
    assert find(claims, "/https:~1~1sts.amazonaws.com~1/aws_account") == clouds.AWS_ACCOUNT
    assert find({"/a": "x"}, "/a") is None
    assert find({"/a": "x"}, "/~1a") == "x"


@pytest.mark.parametrize("platform", GOOD)
def test_every_pin_of_a_platform_can_be_written(platform: str) -> None:
    good = GOOD[platform]
    claims = good.token.issued()
    for pointer, wanted in {**good.pins, **good.refuses}.items():
        assert check_claim(pointer) == pointer
        for one in wanted if isinstance(wanted, tuple) else (wanted,):
            assert check_value(one) is one
    assert all(holds(find(claims, pointer), (wanted,)) for pointer, wanted in good.pins.items())


@pytest.mark.parametrize(
    "value", ["*", "**", "***", "a***", "a*b", "*a", "a*b*", "", "x" * (MAX_VALUE + 1), None, 1.0, 1.9, [], {}, b"a"]
)
def test_value_that_would_match_anything_or_nothing_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a "):
        check_value(value)


@pytest.mark.parametrize("claim", ["", "x" * (MAX_CLAIM + 1), "/a~2b", "/~", "/a" * (MAX_DEPTH + 1), None, 1, ["sub"]])
def test_claim_that_is_none_is_refused(claim: object) -> None:
    with pytest.raises(ValueError, match="a "):
        check_claim(claim)
