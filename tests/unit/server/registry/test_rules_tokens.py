"""How long the tokens of a client and of an API live, and what typ they have."""

from __future__ import annotations

import pytest
from tests.desk import MASTER, NOW

from affiant.errors import ConfigError
from affiant.server.registry import rules
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import Api, Client


def _client(**more: object) -> Client:
    return rules.build_client("c", auth_method="client_secret_basic", master_key=MASTER, now=NOW, **more).client  # type: ignore[arg-type]


def _api(**more: object) -> Api:
    return rules.build_api("a", identifier="https://a.example", scopes=(), is_default=True, now=NOW, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seconds", "kept"), [(None, None), (0, None), (10, 10), (900, 900), (LONGEST_TOKEN, 3600)])
def test_a_lifetime_is_kept(seconds: int | None, kept: int | None) -> None:
    assert _client(access_token_lifetime=seconds).access_token_lifetime == kept
    assert _api(access_token_lifetime=seconds).access_token_lifetime == kept


@pytest.mark.parametrize("seconds", [-1, 1, 9, LONGEST_TOKEN + 1])
def test_a_lifetime_has_bounds(seconds: int) -> None:
    """A revocation is kept as long as the longest token lives, and no longer."""
    for build in (_client, _api):
        with pytest.raises(ConfigError, match="lives 10 to 3600 seconds"):
            build(access_token_lifetime=seconds)
    with pytest.raises(ConfigError, match="lives 10 to 3600 seconds"):
        rules.change_client(_client(), now=NOW, access_token_lifetime=seconds)
    with pytest.raises(ConfigError, match="lives 10 to 3600 seconds"):
        rules.change_api(_api(), access_token_lifetime=seconds)


def test_a_lifetime_is_changed_and_taken_back() -> None:
    client = rules.change_client(_client(), now=NOW, access_token_lifetime=900)
    assert client.access_token_lifetime == 900
    assert rules.change_client(client, now=NOW, scope=("a",)).access_token_lifetime == 900
    assert rules.change_client(client, now=NOW, access_token_lifetime=0).access_token_lifetime is None
    api = rules.change_api(_api(), access_token_lifetime=300)
    assert rules.change_api(api, scopes=("a",)).access_token_lifetime == 300
    assert rules.change_api(api, access_token_lifetime=0).access_token_lifetime is None


def test_a_typ_is_one_of_two() -> None:
    assert _api().access_token_typ == "at+jwt"
    plain = rules.change_api(_api(), access_token_typ="JWT")
    assert (plain.access_token_typ, rules.change_api(plain, scopes=("a",)).access_token_typ) == ("JWT", "JWT")
    assert rules.change_api(plain, access_token_typ="at+jwt").access_token_typ == "at+jwt"
    for typ in ("jwt", "client-authentication+jwt", "dpop+jwt", ""):
        with pytest.raises(ConfigError, match=r"one of: at\+jwt, JWT") if typ else pytest.raises(ConfigError):
            rules.check_typ(typ)


@pytest.mark.parametrize(
    ("before", "after"),
    [("client_secret_basic", "client_secret_post"), ("client_secret_post", "client_secret_basic")],
)
def test_the_methods_of_one_secret_replace_each_other(before: str, after: str) -> None:
    client = rules.build_client("c", auth_method=before, master_key=MASTER, now=NOW).client
    changed = rules.change_client(client, now=NOW, auth_method=after)
    assert (changed.token_endpoint_auth_method, changed.secrets) == (after, client.secrets)


@pytest.mark.parametrize(
    "wanted", ["private_key_jwt", "client_secret_jwt", "tls_client_auth", "self_signed_tls_client_auth"]
)
def test_another_method_needs_another_client(wanted: str) -> None:
    """The message says why, and what to do."""
    with pytest.raises(ConfigError, match=f"because {wanted} needs another credential.* register a second client"):
        rules.change_client(_client(), now=NOW, auth_method=wanted)
    with pytest.raises(ConfigError, match="authenticates by one of"):
        rules.change_client(_client(), now=NOW, auth_method="none")
    client = _client()
    assert rules.change_client(client, now=NOW, auth_method="client_secret_basic") == client
