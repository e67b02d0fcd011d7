"""The rows of clients and APIs: every value is read, rendered and limited by its row."""

from dataclasses import fields as attributes
from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.oauth.parameters import jwks_uri
from affiant.server.registry import fields
from affiant.server.registry.federation.fields import TRUST
from affiant.server.registry.fields import By, SubjectName
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import Api, Client, Trust

CLIENT = Client("c", "client_secret_basic")
API = Api("https://a.example", "a", (), is_default=False, created_at=0)


@pytest.mark.parametrize(("table", "record"), [(fields.CLIENT, Client), (fields.API, Api)])
def test_every_row_has_its_attribute(table: fields.Table[Any], record: type) -> None:
    names = {each.name for each in attributes(record)}
    assert {row.name for row in table if not isinstance(row, SubjectName)} <= names


def test_a_record_keeps_its_members() -> None:
    members = {
        "scope": ["b", "a", "b"],
        "tls_client_auth_san_dns": "c.example",
        "dpop_bound_access_tokens": True,
        "profile": "fapi",
        "access_token_lifetime": 60,
    }
    put = fields.CLIENT.put(CLIENT, members)
    assert (put.scope, put.tls_subject) == (("b", "a"), ("tls_client_auth_san_dns", "c.example"))
    shown = fields.CLIENT.render(put)
    assert shown["tls_client_auth_san_dns"] == "c.example"
    assert shown["tls_client_auth_san_ip"] is None
    assert fields.CLIENT.check(put) == put
    cleared = fields.CLIENT.put(put, {"profile": "none", "access_token_lifetime": 0})
    assert (cleared.profile, cleared.access_token_lifetime) == (None, None)


@pytest.mark.rfc(8705, "2.1.2")
def test_a_client_has_one_name_of_a_certificate() -> None:
    with pytest.raises(ConfigError, match="give one of tls_client_auth_san_dns and tls_client_auth_san_uri"):
        fields.CLIENT.read({"tls_client_auth_san_dns": "a.example", "tls_client_auth_san_uri": "spiffe://a/b"})


@pytest.mark.parametrize("name", [*fields.CLIENT.rows])
@pytest.mark.parametrize("value", [None, 1.5, "\0", {}, [1], [[]]])
def test_a_value_of_another_kind_is_rejected(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be "):
        fields.CLIENT.read({name: value})


@pytest.mark.parametrize("names", [("a b",), ("a", "b c"), (" a",), ("a ",), (" ",), ("",), ("a", "")])
def test_a_scope_with_a_space_is_none(names: tuple[str, ...]) -> None:
    """It would silently become two scopes, or one less."""
    for table, name in ((fields.CLIENT, "scope"), (fields.API, "scopes")):
        with pytest.raises(ConfigError, match=f"{name} must be an array in which each item is"):
            table.read({name: list(names)})


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\tb", "a\nb", "a\n", "\u00e9", "a\u00a0b", "a" * 257])
def test_a_scope_is_of_printable_ascii(name: str) -> None:
    with pytest.raises(ConfigError, match="scope must be an array in which each item is"):
        fields.CLIENT.read({"scope": [name]})


def test_a_list_has_at_most_64_items() -> None:
    names = [str(number) for number in range(65)]
    assert fields.CLIENT.read({"scope": names[:64]})["scope"] == tuple(names[:64])
    with pytest.raises(ConfigError, match="an array of at most 64 strings"):
        fields.CLIENT.read({"scope": names})
    with pytest.raises(ConfigError, match="grant_types must be an array of 1 to 4 strings"):
        fields.CLIENT.read({"grant_types": []})


@pytest.mark.parametrize(("seconds", "kept"), [(0, None), (10, 10), (900, 900), (LONGEST_TOKEN, LONGEST_TOKEN)])
def test_a_lifetime_is_kept(seconds: int, kept: int | None) -> None:
    assert fields.CLIENT.put(CLIENT, {"access_token_lifetime": seconds}).access_token_lifetime == kept
    assert fields.API.put(API, {"access_token_lifetime": seconds}).access_token_lifetime == kept


@pytest.mark.parametrize("seconds", [-1, 1, 9, LONGEST_TOKEN + 1, True])
def test_a_lifetime_has_bounds(seconds: int) -> None:
    """A revocation is kept as long as the longest token lives, and no longer."""
    for table in (fields.CLIENT, fields.API):
        with pytest.raises(ConfigError, match="access_token_lifetime must be 10 to 3600 seconds, or 0 for the setting"):
            table.read({"access_token_lifetime": seconds})


@pytest.mark.parametrize("typ", ["jwt", "client-authentication+jwt", "dpop+jwt", ""])
def test_a_typ_is_one_of_two(typ: str) -> None:
    assert fields.API.put(API, {"access_token_typ": "JWT"}).access_token_typ == "JWT"
    with pytest.raises(ConfigError, match=r"access_token_typ must be one of: at\+jwt, JWT"):
        fields.API.read({"access_token_typ": typ})


def test_an_api_returns_to_the_choice_of_the_server() -> None:
    chosen = fields.API.put(API, {"signing_alg": "PS256"})
    assert fields.API.put(chosen, {"name": "b"}).signing_alg == "PS256"
    assert fields.API.put(chosen, {"signing_alg": "default"}).signing_alg is None


@pytest.mark.attack(212)
def test_an_address_of_keys_has_one_longest_length() -> None:
    longest = "https://keys.example/" + "x" * (jwks_uri.MAX_CHARACTERS - len("https://keys.example/"))
    assert fields.CLIENT.read({"jwks_uri": longest}) == {"jwks_uri": longest}
    assert fields.CLIENT.rows["jwks_uri"].kind.schema()["maxLength"] == len(longest)
    with pytest.raises(ConfigError, match="jwks_uri must be a string of 1 to 2,000 characters"):
        fields.CLIENT.read({"jwks_uri": longest + "x"})


def test_an_operator_sets_some_members_only_at_creation() -> None:
    """Each of these is a decision: the rest may be set at both times."""
    rows = [row for row in fields.CLIENT if row.by & By.OPERATOR]
    assert [row.name for row in rows if By.CHANGE not in row.by] == [
        "token_endpoint_auth_signing_alg",
        "blueprint",
    ]
    assert [row.name for row in rows if By.NEW not in row.by] == ["enabled"]


@pytest.mark.parametrize(
    ("table", "record"), [(fields.CLIENT, CLIENT), (fields.API, API), (TRUST, Trust("t", "https://t.example"))]
)
def test_team_contact_and_labels(table: fields.Table[Any], record: Any) -> None:
    members = {"team": "payments", "contact": "#payments", "labels": ["env=prod", "batch", "batch"]}
    put = table.put(record, members)
    assert (put.team, put.contact, put.labels) == ("payments", "#payments", ("env=prod", "batch"))
    cleared = table.put(put, {"team": "", "contact": "", "labels": []})
    assert (cleared.team, cleared.contact, cleared.labels) == (None, None, ())


@pytest.mark.parametrize(
    "label", ["", "a b", "=prod", "env=", "env=a=b", "-a", "a" * 64, "env=" + "a" * 64, "\u00e9", "a\nb"]
)
def test_a_label_is_short_words(label: str) -> None:
    with pytest.raises(ConfigError, match="labels must be an array in which each item is a"):
        fields.CLIENT.read({"labels": [label]})


def test_labels_are_few() -> None:
    names = [f"l{number}" for number in range(33)]
    assert fields.CLIENT.read({"labels": names[:32]})["labels"] == tuple(names[:32])
    with pytest.raises(ConfigError, match="labels must be an array of at most 32 strings"):
        fields.CLIENT.read({"labels": names})


@pytest.mark.parametrize("team", ["Payments", "a b", "-a", "a-", "a" * 65, "\u00e9", "a/b"])
def test_a_team_has_a_short_name(team: str) -> None:
    with pytest.raises(ConfigError, match=r"^team must be "):
        fields.CLIENT.read({"team": team})
