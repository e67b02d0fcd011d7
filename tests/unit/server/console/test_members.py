"""Members of a record as fields of a form: what is unchanged is not sent, and each kind has its field."""

from typing import Any
from urllib.parse import urlencode

import pytest

from affiant.errors import ConfigError
from affiant.server.console.show.records import members
from affiant.server.console.view import Form
from affiant.server.registry import fields
from affiant.storage.records import Client

ROWS = list(fields.CLIENT)
BEFORE = fields.CLIENT.render(Client("billing", "private_key_jwt", owner="ann", scope=("a", "b")))


def form(**values: Any) -> Form:
    return Form.parse(urlencode(values, doseq=True))


@pytest.mark.parametrize(
    ("name", "typed", "wanted"),
    [
        ("owner", "bob", "bob"),
        ("scope", "a b\nc", ["a", "b", "c"]),
        ("labels", "env=prod x", ["env=prod", "x"]),
        ("access_token_lifetime", "300", 300),
        ("audience_policy", "legacy", "legacy"),
        ("dpop_bound_access_tokens", "yes", True),
        ("observe", ["", "audience", "jti"], ["audience", "jti"]),
        ("team", "payments", "payments"),
    ],
)
def test_changed_member_is_sent(name: str, typed: Any, wanted: Any) -> None:
    assert members.read(form(**{name: typed}), ROWS, BEFORE) == {name: wanted}


def test_form_as_it_was_changes_nothing() -> None:
    typed = {one.name: one.value.split() if one.kind == "boxes" else one.value for one in members.fields(ROWS, BEFORE)}
    assert members.read(form(**typed), ROWS, BEFORE) == {}


def test_member_that_the_form_has_not_stays() -> None:
    assert members.read(form(team=""), ROWS, BEFORE) == {}


def test_typed_values_are_shown_again() -> None:
    typed = form(owner="<bob>", observe=["", "jti"])
    shown = {one.name: one.value for one in members.fields(ROWS, BEFORE, typed)}
    assert shown["owner"] == "<bob>"
    assert shown["observe"] == "jti"


@pytest.mark.parametrize(("name", "typed"), [("owner", ""), ("access_token_lifetime", "many")])
def test_no_value_is_refused_with_the_name(name: str, typed: str) -> None:
    with pytest.raises(ConfigError, match=name):
        members.read(form(**{name: typed}), ROWS, BEFORE)


def test_emptied_list_is_sent() -> None:
    assert members.read(form(scope=""), ROWS, BEFORE) == {"scope": []}
