"""What is registered, as a file: on every store, a plan of it finds nothing to do, and another server becomes the same."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.admin import ADMIN, ISSUER, MASTER, NOW, make_gate, member, open_api
from tests.rsa_keys import rsa_key

from affiant.cli.connection.admin import Admin
from affiant.cli.connection.local import call
from affiant.cli.registry.manifest import commands, export, plan, registry_file
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.jose import keys
from affiant.server.keys import signing_keys
from affiant.server.keys.vault import Vault
from affiant.server.registry.credentials import keys as client_keys
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Client

API = "https://orders.example"
KEY, NEXT, GONE = keys.generate("ES256"), rsa_key("PS256"), keys.generate("ES256")
CLIENTS: list[dict[str, Any]] = [
    {"client_id": "billing", "jwks": {"keys": [KEY.public().to_jwk(), GONE.public().to_jwk()]}, "scope": ["r", "w"]},
    {
        "client_id": "hosted",
        "jwks_uri": "https://published.example/j",
        "resources": [API],
        "dpop_bound_access_tokens": True,
    },
    {"client_id": "legacy", "token_endpoint_auth_method": "client_secret_basic", "client_name": 'a "b" \\ \u00e9'},
    {"client_id": "mac", "token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "HS384"},
    {"client_id": "mesh", "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "mesh.example"},
    {
        "client_id": "old",
        "jwks": {"keys": [NEXT.public().to_jwk()]},
        "audience_policy": "legacy",
        "observe": ["typ"],
        "grant_types": ["client_credentials", "refresh_token"],
        "access_token_lifetime": 300,
        "profile": "fapi",
    },
]


@pytest.fixture
async def store(make_store: Callable[..., Store]) -> AsyncIterator[Store]:
    """An open store of each make, whose audit log is chained under the master key."""
    made = make_store(audit_key=MASTER.audit)
    await made.open()
    yield made
    await made.close()


async def _fill(store: Store) -> Admin:
    await signing_keys.ensure(store, Vault(MASTER), now=NOW)
    await open_api(store)
    await store.clients.add(member("owner"))
    api = _ask(store)
    await api.post("/apis", {"identifier": API, "name": "orders", "scopes": ["r", "w"], "signing_alg": "Ed25519"})
    for client in CLIENTS:
        await api.post("/clients", client)
    await api.patch("/clients/mesh", {"enabled": False})
    await api.post("/clients/billing/keys/revoke", {"kid": GONE.kid})
    added = client_keys.build(NEXT.public(), now=NOW, source="client")
    await store.clients.update("billing", lambda found: replace(found, keys=(*found.keys, added)))
    itself = Client("itself", "private_key_jwt", keys=(client_keys.build(KEY.public(), now=NOW),), registered_by="x")
    await store.clients.add(itself)
    return api


def _ask(store: Store) -> Admin:
    return Admin(partial(call, make_gate(store)), ISSUER)


async def _plan(api: Admin, wanted: Desired) -> list[plan.Step]:
    return plan.build(wanted, await commands.read_all(api))


async def test_a_plan_of_an_export_is_empty(store: Store, tmp_path: Path) -> None:
    api = await _fill(store)
    document, left_out = await export.build(api)
    (tmp_path / "registry.toml").write_text("\n".join(export.render(document)))
    (tmp_path / "registry.json").write_text(json.dumps(document))
    wanted = registry_file.read(tmp_path / "registry.toml")
    assert wanted == registry_file.read(tmp_path / "registry.json")
    assert await _plan(api, wanted) == []
    assert left_out == ["itself"]
    text = "\n".join(export.render(document))
    assert KEY.kid in text
    assert GONE.kid not in text
    secrets = [value for key in (KEY, NEXT) for name, value in key.to_jwk().items() if name in ("d", "p", "q")]
    assert not any(value in text for value in secrets)


async def test_another_server_becomes_the_same(store: Store, tmp_path: Path) -> None:
    document, _ = await export.build(await _fill(store))
    (tmp_path / "registry.toml").write_text("\n".join(export.render(document)))
    other = _ask(MemoryStore())
    await commands.take_all(
        other, await _plan(other, registry_file.read(tmp_path / "registry.toml")), tmp_path, done=lambda _: None
    )
    again, _ = await export.build(other)
    assert again == document
    assert ADMIN in [api["identifier"] for api in again["apis"]]
