"""The plan lists the differences, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from affiant.cli.registry.manifest import plan, registry_file
from affiant.cli.registry.manifest.plan import Found
from affiant.errors import ConfigError
from affiant.jose import keys

KEY, OTHER = keys.generate("ES256").public(), keys.generate("Ed25519").public()
FILE = """
"$schema" = "registry.schema.json"

[[apis]]
identifier = "https://orders.example"
name = "orders"
scopes = ["read", "write"]

[[clients]]
client_id = "billing"
public_keys = ["billing.jwk"]
scope = ["read"]
audience_policy = "legacy"
enabled = false
"""
API: dict[str, Any] = {
    "identifier": "https://orders.example",
    "name": "orders",
    "scopes": ["write", "read"],
    "is_default": True,
}


def _client(**changes: Any) -> dict[str, Any]:
    shown = {
        "client_id": "billing",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": None,
        "scope": ["read"],
        "resources": [],
        "audience_policy": "legacy",
        "enabled": False,
        "keys": [{"thumbprint": KEY.thumbprint, "state": "active", "source": "operator"}],
    }
    return {**shown, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "billing.jwk").write_text(json.dumps(KEY.to_jwk()))
    (tmp_path / "registry.toml").write_text(FILE)
    return tmp_path


def test_matching_registry_needs_no_step(folder: Path) -> None:
    wanted = registry_file.read(folder / "registry.toml")
    assert plan.build(wanted, Found([API], [_client()])) == []
    # What the file does not name is not its business.
    assert plan.build(wanted, Found([API], [_client(resources=["https://x"], scope=["read"])])) == []


def test_json_says_the_same(folder: Path) -> None:
    wanted = registry_file.read(folder / "registry.toml")
    document = {
        "apis": [api.model_dump(exclude_none=True) for api in wanted.apis],
        "clients": [client.model_dump(exclude_none=True) for client in wanted.clients],
    }
    (folder / "registry.json").write_text(json.dumps(document))
    assert registry_file.read(folder / "registry.json") == wanted


def test_missing_apis_and_clients_are_created_in_order(folder: Path) -> None:
    api, client = plan.build(registry_file.read(folder / "registry.toml"), Found([], []))
    assert (api.action, api.kind, api.name) == ("create", "api", "https://orders.example")
    assert (client.action, client.kind, client.name) == ("create", "client", "billing")
    assert client.members["token_endpoint_auth_method"] == "private_key_jwt"
    assert client.members["jwks"] == {"keys": [KEY.to_jwk()]}
    assert (client.members["audience_policy"], client.then) == ("legacy", {"enabled": False})


def test_changed_member_is_listed_before_and_after(folder: Path) -> None:
    wanted = registry_file.read(folder / "registry.toml")
    drifted = _client(
        scope=["read", "admin"],
        enabled=True,
        keys=[{"thumbprint": OTHER.thumbprint, "state": "active", "source": "operator"}],
    )
    (step,) = plan.build(wanted, Found([API], [drifted]))
    assert (step.action, step.name) == ("update", "billing")
    assert {change.member: (change.before, change.after) for change in step.changes} == {
        "scope": (["read", "admin"], ["read"]),
        "enabled": (True, False),
        "jwks": ([OTHER.thumbprint], [KEY.thumbprint]),
    }
    assert step.members["jwks"] == {"keys": [KEY.to_jwk()]}
    assert step.is_still({**drifted, "typ_policy": "explicit"})
    assert not step.is_still({**drifted, "scope": ["write"]})


def test_revoked_key_is_not_compared(folder: Path) -> None:
    wanted = registry_file.read(folder / "registry.toml")
    both = [
        {"thumbprint": KEY.thumbprint, "state": "active", "source": "operator"},
        {"thumbprint": OTHER.thumbprint, "state": "revoked"},
    ]
    assert plan.build(wanted, Found([API], [_client(keys=both)])) == []


def test_prune_alone_removes(folder: Path) -> None:
    wanted = registry_file.read(folder / "registry.toml")
    apis: list[dict[str, Any]] = [API, {"identifier": "https://old", "name": "old", "scopes": []}]
    clients = [_client(), _client(client_id="old"), _client(client_id="admin")]
    assert plan.build(wanted, Found(apis, clients)) == []
    steps = plan.build(wanted, Found(apis, clients), prune=True, keep=[("client", "admin")])
    assert [(step.action, step.kind, step.name) for step in steps] == [
        ("remove", "client", "old"),
        ("remove", "api", "https://old"),
    ]


def test_auth_method_cannot_change(folder: Path) -> None:
    (folder / "fixed.toml").write_text(
        '[[clients]]\nclient_id = "billing"\ntoken_endpoint_auth_method = "client_secret_basic"\n'
    )
    with pytest.raises(ConfigError, match="token_endpoint_auth_method is private_key_jwt and cannot change"):
        plan.build(registry_file.read(folder / "fixed.toml"), Found([], [_client()]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[clients]]\nclient_id='a'\nscopes=['x']", "clients.1.scopes: no such member"),
        ("[[clients]]\nscope=['x']", "clients.1.client_id: Field required"),
        ("[[clients]]\nclient_id='a'\n[[clients]]\nclient_id='a'", "client_id is repeated: a"),
        ("[[apis]]\nidentifier='urn:a'\n[[apis]]\nidentifier='urn:a'", "identifier is repeated: urn:a"),
        ("[[clients]]\nclient_id='a'\naudience_policy='lax'", "audience_policy"),
        ("[[clients]]\nclient_id='a'\nscope='x'", "scope: must be an array of at most 64 strings"),
        ("[[clients]]\nclient_id='a'\npublic_keys=['none.pem']", "none.pem cannot be read: No such file"),
        ("[[clients]]\nclient_id='a'\npublic_keys=['private.jwk']", "private members"),
        ("[[clients]]\nclient_id='a'\npublic_keys=['billing.jwk', 'billing.jwk']", "names a key twice"),
        ("[[clients]]\nclient_id='a'\njwks_uri='https://x'\njwks={keys=[]}", "give one of jwks and jwks_uri"),
        ("clients = 1", "clients: Input should be a valid list"),
        ("x", "is not TOML"),
    ],
)
def test_every_mistake_is_reported(folder: Path, text: str, said: str) -> None:
    (folder / "private.jwk").write_text(json.dumps(keys.generate("ES256").to_jwk()))
    (folder / "wrong.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        registry_file.read(folder / "wrong.toml")
    assert said in str(refused.value)
    assert '"d"' not in str(refused.value)


def test_the_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        registry_file.read(tmp_path / "none.toml")
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="is not JSON"):
        registry_file.read(tmp_path / "x.json")
    (tmp_path / "y.json").write_text("[]")
    with pytest.raises(ConfigError, match="valid dictionary"):
        registry_file.read(tmp_path / "y.json")


@pytest.mark.parametrize(("member", "said"), [("kid", "other"), ("alg", "ES512")])
def test_a_key_keeps_its_kid_and_its_alg(folder: Path, member: str, said: str) -> None:
    """Otherwise the plan would find no difference while the server refuses what the client signs."""
    wanted = registry_file.read(folder / "registry.toml")
    named = {**KEY.to_jwk(), "kid": "named", "alg": "ES256"}
    file = wanted.model_copy(update={"clients": [wanted.clients[0].model_copy(update={"jwks": {"keys": [named]}})]})
    standing = {"thumbprint": KEY.thumbprint, "state": "active", "source": "operator", "kid": "named", "alg": "ES256"}
    assert plan.build(file, Found([API], [_client(keys=[standing])])) == []
    with pytest.raises(
        ConfigError, match=rf"the {member} of the key {KEY.thumbprint} is {said} and cannot change: for"
    ):
        plan.build(file, Found([API], [_client(keys=[{**standing, member: said}])]))
    # A key that the file has without a kid may have any.
    assert plan.build(wanted, Found([API], [_client(keys=[{**standing, "kid": "any", "alg": None}])])) == []


def test_grants_may_be_left_out_but_not_empty(folder: Path) -> None:
    (folder / "registry.toml").write_text(FILE + "grant_types = []\n")
    with pytest.raises(ConfigError, match=r"clients\.1\.grant_types: must be an array of 1 to 4 strings"):
        registry_file.read(folder / "registry.toml")


def test_team_contact_and_labels_are_compared(folder: Path) -> None:
    """The order of labels is none, an empty team is no team, and what the file leaves out is not managed by it."""
    file = folder / "registry.toml"
    owned = 'team = "payments"\ncontact = "#payments"\nlabels = ["env=prod", "batch"]\n'
    file.write_text(FILE + owned)
    held = {"team": "payments", "contact": "#payments", "labels": ["batch", "env=prod"]}
    wanted = registry_file.read(file)
    assert plan.build(wanted, Found([API], [_client(**held)])) == []
    (step,) = plan.build(wanted, Found([API], [_client(**held | {"team": "other", "labels": ["batch"]})]))
    assert step.members == {"team": "payments", "labels": ["env=prod", "batch"]}
    file.write_text(FILE + 'team = ""\n')
    wanted = registry_file.read(file)
    assert plan.build(wanted, Found([API], [_client(team=None)])) == []
    (step,) = plan.build(wanted, Found([API], [_client(**held)]))
    assert step.members == {"team": ""}


def test_prune_keeps_who_administers_a_team() -> None:
    wanted = registry_file.Desired()
    found = Found([], [_client(resources=[], introspects=[], registered_itself=False, administers=["payments"])])
    assert ("client", "billing") in plan.unprunable(found, "https://as.example/admin/api")
    assert plan.build(wanted, found, prune=True, keep=plan.unprunable(found, "https://as.example/admin/api")) == []
