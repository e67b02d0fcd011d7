"""Which clients may publish their keys elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import rules
from affiant.storage.records import Client

NOW, URI = 1_800_000_000, "https://keys.example/jwks"
FIRST, SECOND = (keys.generate("ES256").public() for _ in range(2))


def build(**options: Any) -> Client:
    master_key = MasterKey.from_bytes(bytes(32))
    options.setdefault("auth_method", "private_key_jwt")
    return rules.build_client("c1", master_key=master_key, now=NOW, **options).client


def test_address_instead_of_keys() -> None:
    made = build(jwks_uri=URI)
    assert (made.jwks_uri, made.keys) == (URI, ())


@pytest.mark.rfc(7591, "2")
def test_exactly_one_of_keys_and_address() -> None:
    for given in ({"jwks_uri": URI, "keys": (FIRST,)}, {}):
        with pytest.raises(ConfigError):
            build(**given)


def test_only_for_methods_with_public_keys() -> None:
    for method in ("client_secret_basic", "client_secret_jwt"):
        with pytest.raises(ConfigError):
            build(auth_method=method, jwks_uri=URI)


@pytest.mark.attack(212)
@pytest.mark.parametrize("uri", ["", "http://keys.example/", "https://u:p@keys.example/", "https://keys.example:22/"])
def test_address_must_be_one(uri: str) -> None:
    with pytest.raises(ConfigError, match="this jwks_uri cannot be registered"):
        build(jwks_uri=uri)
    with pytest.raises(ConfigError, match="this jwks_uri cannot be registered"):
        rules.change_client(build(keys=(FIRST,)), now=NOW, jwks_uri=uri)


def test_keys_move_to_an_address() -> None:
    """They are forgotten, as the set has them; what was revoked stays so."""
    standing = build(keys=(FIRST, SECOND))
    standing = replace(standing, keys=(replace(standing.keys[0], revoked_at=NOW - 1), standing.keys[1]))
    moved = rules.change_client(standing, now=NOW, jwks_uri=URI)
    assert (moved.jwks_uri, moved.keys) == (URI, standing.keys[:1])


def test_keys_move_back() -> None:
    moved = rules.change_client(build(jwks_uri=URI), now=NOW, keys=(FIRST,))
    assert (moved.jwks_uri, [key.kid for key in moved.keys]) == (None, [FIRST.kid])


def test_other_changes_leave_the_address() -> None:
    assert rules.change_client(build(jwks_uri=URI), now=NOW, scope=("r",)).jwks_uri == URI


def test_not_both_at_once() -> None:
    with pytest.raises(ConfigError, match="and not both"):
        rules.change_client(build(jwks_uri=URI), now=NOW, keys=(FIRST,), jwks_uri=URI)
