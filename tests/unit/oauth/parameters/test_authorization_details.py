"""authorization_details: what is read, and what is the same."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.oauth.parameters.authorization_details import MAX_BYTES, is_among, parse, render


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '[{"type":"a"}] x',
        '[{"type":"a"}],[]',
        "[1]",
        "[{}]",
        '[{"type":1}]',
        '[{"type":""}]',
        '[{"type":"a b"}]',
        '[{"type":"a","type":"b"}]',
        '[{"type":"a","x":NaN}]',
        '[{"type":"a","x":1e999}]',
        '[{"type":"a","x":"\\ud800"}]',
        '[{"type":"a","locations":"https://a"}]',
        '[{"type":"a","actions":[1]}]',
        '[{"type":"a","datatypes":{}}]',
        '[{"type":"a","privileges":null}]',
        '[{"type":"a","identifier":1}]',
        "\ufeff[]",
        json.dumps([{"type": "a"}] * 17),
        json.dumps([{"type": "a", "x": "x" * MAX_BYTES}]),
        "[" * 1000 + "]" * 1000,
        '[{"type":"a","x":' + "[" * 14 + "]" * 14 + "}]",
        '[{"type":"\ud800"}]',
    ],
)
def test_malformed_details_are_rejected(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one kind for all
        parse(text)


def test_unknown_members_are_kept() -> None:
    text = (
        '[ {"type":"payment","amount":{"value":1.50,"currency":"EUR"},"locations":["https://api.example"],"é":[true]} ]'
    )
    (entry,) = parse(text)
    assert entry == {
        "type": "payment",
        "amount": {"value": 1.5, "currency": "EUR"},
        "locations": ["https://api.example"],
        "é": [True],
    }
    assert parse(render([entry])) == (entry,)


@pytest.mark.parametrize(
    ("asked", "granted", "same"),
    [
        ('{"type":"a","b":1,"c":2}', '{"c":2,"type":"a","b":1}', True),
        ('{"type":"a","b":1}', '{"type":"a","b":true}', False),
        ('{"type":"a","b":1}', '{"type":"a","b":1.0}', False),
        ('{"type":"a"}', '{"type":"a","b":1}', False),
        ('{"type":"a","b":[1,2]}', '{"type":"a","b":[2,1]}', False),
    ],
)
def test_only_the_very_same_was_granted(asked: str, granted: str, same: bool) -> None:
    assert is_among(json.loads(asked), [json.loads(granted)]) is same


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), children, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=4), min_size=1, max_size=4
    )
)
def test_parsed_details_render_and_parse_again(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        entry["type"] = "t"
    try:
        details = parse(json.dumps(entries))
    except ValueError:
        return
    assert parse(render(details)) == details
