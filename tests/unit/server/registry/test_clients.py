"""Rules about several members of a client: its keys and their address, its method, and the bounds of its registration."""

from dataclasses import replace
from typing import Any

import pytest
from tests.admin import MASTER, NOW

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.keys import PublicKey
from affiant.server.registry import clients
from affiant.storage.records import Client

URI = "https://keys.example/jwks"
FIRST, SECOND = (keys.generate("ES256").public() for _ in range(2))


def build(method: str = "private_key_jwt", *given: PublicKey, **members: Any) -> Client:
    return clients.build(Client("c1", method, **members), master_key=MASTER, now=NOW, keys=given).client


def test_address_instead_of_keys() -> None:
    made = build(jwks_uri=URI)
    assert (made.jwks_uri, made.keys) == (URI, ())


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_jwt"])
def test_only_methods_by_key_take_an_address(method: str) -> None:
    with pytest.raises(ConfigError, match="takes no public key"):
        build(method, jwks_uri=URI)


@pytest.mark.attack(212)
@pytest.mark.parametrize("uri", ["", "http://keys.example/", "https://u:p@keys.example/", "https://keys.example:22/"])
def test_an_address_is_checked(uri: str) -> None:
    with pytest.raises(ConfigError, match="jwks_uri must be"):
        build(jwks_uri=uri)
    with pytest.raises(ConfigError, match="jwks_uri must be"):
        clients.change(build("private_key_jwt", FIRST), {"jwks_uri": uri}, now=NOW)


def test_an_address_replaces_the_keys() -> None:
    """They are removed, as the set has them; a revoked key stays revoked."""
    stored = build("private_key_jwt", FIRST, SECOND)
    stored = replace(stored, keys=(replace(stored.keys[0], revoked_at=NOW - 1), stored.keys[1]))
    moved = clients.change(stored, {"jwks_uri": URI}, now=NOW)
    assert (moved.jwks_uri, moved.keys) == (URI, stored.keys[:1])


def test_keys_replace_an_address() -> None:
    moved = clients.change(build(jwks_uri=URI), {}, now=NOW, keys=(FIRST,))
    assert (moved.jwks_uri, [key.kid for key in moved.keys]) == (None, [FIRST.kid])


def test_other_changes_keep_the_address() -> None:
    assert clients.change(build(jwks_uri=URI), {"scope": ["r"]}, now=NOW).jwks_uri == URI


def test_a_change_has_keys_or_an_address() -> None:
    with pytest.raises(ConfigError, match="not both"):
        clients.change(build(jwks_uri=URI), {"jwks_uri": URI}, now=NOW, keys=(FIRST,))


@pytest.mark.parametrize(
    ("before", "after"),
    [("client_secret_basic", "client_secret_post"), ("client_secret_post", "client_secret_basic")],
)
def test_the_methods_of_one_secret_replace_each_other(before: str, after: str) -> None:
    client = build(before)
    changed = clients.change(client, {"token_endpoint_auth_method": after}, now=NOW)
    assert (changed.token_endpoint_auth_method, changed.secrets) == (after, client.secrets)


@pytest.mark.parametrize(
    "wanted", ["private_key_jwt", "client_secret_jwt", "tls_client_auth", "self_signed_tls_client_auth"]
)
def test_another_method_needs_another_client(wanted: str) -> None:
    """The message says why, and what to do."""
    client = build("client_secret_basic")
    with pytest.raises(ConfigError, match=f"because {wanted} needs another credential.* register a second client"):
        clients.change(client, {"token_endpoint_auth_method": wanted}, now=NOW)
    with pytest.raises(ConfigError, match="token_endpoint_auth_method must be one of"):
        clients.change(client, {"token_endpoint_auth_method": "none"}, now=NOW)
    assert clients.change(client, {"token_endpoint_auth_method": "client_secret_basic"}, now=NOW) == client


@pytest.mark.parametrize("left", [[], ["a"]])
def test_bounds_follow_the_operator(left: list[str]) -> None:
    """A client that registered itself cannot register again for what an operator took away."""
    both = ("a", "b")
    stored = build("private_key_jwt", FIRST, scope=both, registration_scope=both, registration_types=both)
    stored = replace(stored, registered_by="i")
    changed = clients.change(stored, {"scope": left, "authorization_details_types": left}, now=NOW)
    assert changed.scope == changed.registration_scope == tuple(left)
    assert changed.authorization_details_types == changed.registration_types == tuple(left)
    assert changed.registration_grants is None
    kept = clients.change(stored, {"resources": []}, now=NOW)
    assert (kept.scope, kept.registration_scope, kept.registration_types) == (both, both, both)
    grants = {"grant_types": ["client_credentials"]}
    assert clients.change(kept, grants, now=NOW).registration_grants == ("client_credentials",)
    assert clients.change(replace(kept, registered_by=None), grants, now=NOW).registration_grants is None


def test_a_client_of_platforms_has_no_credential() -> None:
    made = build("federated_jwt", scope=("r",))
    assert (made.keys, made.secrets, made.jwks_uri) == ((), (), None)
    for given, members in (
        ((FIRST,), {}),
        ((), {"jwks_uri": URI}),
        ((), {"profile": "fapi"}),
        ((), {"profile": "guide"}),
        ((), {"token_endpoint_auth_signing_alg": "ES256"}),
        ((), {"tls_subject": ("tls_client_auth_san_dns", "a.example")}),
    ):
        with pytest.raises(ConfigError):
            build("federated_jwt", *given, **members)
    with pytest.raises(ConfigError, match="changes only between"):
        clients.change(made, {"token_endpoint_auth_method": "private_key_jwt"}, now=NOW)
