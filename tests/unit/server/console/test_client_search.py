"""The words of the search box of clients."""

from typing import Any

import pytest

from affiant.server.console.pages.clients import search

NOW, DAY = 1_800_000_000, 86_400


def client(**members: Any) -> dict[str, Any]:
    return {
        "client_id": "urn:app:billing",
        "client_name": None,
        "owner": None,
        "team": None,
        "labels": [],
        "scope": [],
        "resources": [],
        "enabled": True,
        "kind": "service",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": None,
        "created_at": NOW - 400 * DAY,
        "last_used_at": NOW - 60,
        "keys": [],
        **members,
    }


def key(**members: Any) -> dict[str, Any]:
    return {"state": "active", "alg": "ES256", "created_at": NOW - 400 * DAY, "expires_at": None, **members}


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("bill", {}),
        ("urn:app:billing", {}),
        ("Invoices", {"client_name": "All invoices"}),
        ("disabled", {"enabled": False}),
        ("unused:90d", {"last_used_at": NOW - 91 * DAY}),
        ("unused:<90d", {"last_used_at": NOW - 91 * DAY}),
        ("unused:90d", {"last_used_at": None}),
        ("alg:hs256", {"token_endpoint_auth_signing_alg": "HS256"}),
        ("alg:ES256", {"keys": [key()]}),
        ("key-expires:30d", {"keys": [key(expires_at=NOW + 29 * DAY)]}),
        ("key-older:1w", {"keys": [key()]}),
        ("scope:orders.write", {"scope": ["orders.read", "orders.write"]}),
        ("api:https://a.example", {"resources": ["https://a.example"]}),
        ("team:payments", {"team": "payments"}),
        ("label:env=prod", {"labels": ["env=prod"]}),
        ("method:client_secret_post", {"token_endpoint_auth_method": "client_secret_post"}),
        ("team:payments disabled bill", {"team": "payments", "enabled": False}),
    ],
)
def test_client_fits(text: str, members: dict[str, Any]) -> None:
    found = search.parse(text, now=NOW)
    assert found.mistakes == ()
    assert found.fits(client(**members))


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("mail", {}),
        ("disabled", {}),
        ("unused:90d", {"last_used_at": None, "created_at": NOW - DAY}),
        ("alg:RS256", {"keys": [key(alg="RS256", state="revoked")]}),
        ("key-expires:30d", {"keys": [key(), key(expires_at=NOW + 31 * DAY)]}),
        ("scope:orders", {"scope": ["orders.read"]}),
        ("label:env", {"labels": ["env=prod"]}),
        ("team:payments disabled", {"team": "payments"}),
    ],
)
def test_client_does_not_fit(text: str, members: dict[str, Any]) -> None:
    assert not search.parse(text, now=NOW).fits(client(**members))


@pytest.mark.parametrize("text", ["unused:soon", "unused:", "scope:", "key-expires:99999d", "team:"])
def test_mistake_is_said(text: str) -> None:
    found = search.parse(text, now=NOW)
    assert found.mistakes[0].startswith(text)
    assert found.is_empty


def test_long_search_is_cut() -> None:
    assert len(search.parse("a " * 10_000, now=NOW).conditions) == 20
