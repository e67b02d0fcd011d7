"""The keys of a client at its jwks_uri: an operator has them fetched, and sees what this process has."""

from collections.abc import AsyncIterator

import pytest
from tests.admin import MASTER, NOW
from tests.key_server import KeyServer, fetcher
from tests.key_server import running as publishing
from tests.unit.server.console.visits import text, visit

from affiant.jose import keys
from affiant.server.admin.roles import Role
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Client

KEY = keys.generate("ES256").public()
TAB = "/clients/billing?tab=credentials"


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with publishing() as made:
        made.publish(KEY.to_jwk(), {"kty": "?"})
        yield made


@pytest.fixture
async def store(server: KeyServer) -> MemoryStore:
    made = MemoryStore(audit_key=MASTER.audit)
    await made.clients.add(Client("billing", "private_key_jwt", jwks_uri=server.uri(), created_at=NOW))
    return made


async def test_an_operator_fetches(store: MemoryStore, server: KeyServer) -> None:
    remote = RemoteKeys(fetcher(names=server.names))
    bob = visit(store, Role.OPERATOR, "bob", remote_keys=remote)
    assert "Fetch now" in text(await bob.get(TAB))
    shown = text(await bob.get(f"{TAB}&fetch=yes"))
    assert KEY.thumbprint in shown
    assert "Left out: key 2 of the JWK Set" in shown
    # Attack: an operator who lets the server hammer a host.
    server.vanish()
    again = text(await bob.get(f"{TAB}&fetch=yes"))
    assert KEY.thumbprint in again
    assert "cannot be reached" not in again


async def test_a_failed_fetch_says_why(store: MemoryStore, server: KeyServer) -> None:
    server.vanish()
    bob = visit(store, Role.OPERATOR, "bob", remote_keys=RemoteKeys(fetcher(names=server.names)))
    shown = text(await bob.get(f"{TAB}&fetch=yes"))
    assert "the host cannot be reached" in shown
    assert "This process has no keys of it." in shown


async def test_a_viewer_fetches_nothing(store: MemoryStore) -> None:
    eve = visit(store, Role.VIEWER, "eve")
    assert "Fetch now" not in text(await eve.get(TAB))
    assert (await eve.get(f"{TAB}&fetch=yes")).status_code == 403
