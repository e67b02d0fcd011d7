"""A kid that is used again names two keys: what is revoked is the key that was meant, on every store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.oauth.revocations import of_key
from affiant.server.registry.credentials import actions
from affiant.server.registry.credentials import keys as client_keys
from affiant.storage.entries import AuditRecord
from affiant.storage.records import Client

if TYPE_CHECKING:
    from affiant.jose.keys import PublicKey
    from affiant.server.registry.credentials.actions import Action
    from affiant.storage.ports import Store

pytestmark = pytest.mark.rfc(7517, "4.5")
NOW = 1_800_000_000
OLD, NEW = (keys.parse_public_jwk({**keys.generate("Ed25519").public().to_jwk(), "kid": "main"}) for _ in range(2))


async def commit(store: Store, action: Action, at: int) -> None:
    record = AuditRecord(at=NOW + at, trace_id="trace", endpoint="admin", outcome="changed", by="cli, root")
    await actions.commit(store, "c", action, record=record)


async def register(store: Store) -> None:
    await store.clients.add(Client("c", "private_key_jwt", keys=(client_keys.build(OLD, now=NOW),)))


async def put(store: Store, *wanted: PublicKey, at: int = 1) -> None:
    """The client puts its key set, as with PUT /client-keys."""
    await commit(store, actions.put_keys(wanted, detail="put"), at)


async def states(store: Store, at: int = 9) -> dict[str, str]:
    client = await store.clients.find("c")
    assert client is not None
    return {client_keys.thumbprint(key): client_keys.state(key, NOW + at) for key in client.keys}


async def ended(store: Store) -> list[str]:
    return [row.value for row in await store.revocations.list(NOW)]


async def test_the_leaked_old_key_ends_and_the_good_one_stays(store: Store) -> None:
    await register(store)
    await put(store, NEW)
    before = await store.version()
    for action in (actions.revoke_key("main"), actions.retire_key("main"), actions.cancel_key("main")):
        with pytest.raises(ConfigError, match="2 keys have the kid main") as refused:
            await commit(store, action, 2)
        assert f"{NEW.thumbprint} (active), {OLD.thumbprint} (revoked)" in str(refused.value)
    assert (await store.version(), await ended(store)) == (before, [])
    await commit(store, actions.revoke_key(OLD.thumbprint), 2)
    assert await ended(store) == [of_key("c", OLD.thumbprint)]
    assert await states(store) == {OLD.thumbprint: "revoked", NEW.thumbprint: "active"}


async def test_each_step_takes_a_thumbprint(store: Store) -> None:
    await register(store)
    await put(store, OLD, NEW)
    await commit(store, actions.retire_key(OLD.thumbprint, overlap=60), 2)
    assert await states(store) == {OLD.thumbprint: "retiring", NEW.thumbprint: "active"}
    await commit(store, actions.cancel_key(NEW.thumbprint), 3)
    assert await states(store) == {OLD.thumbprint: "active", NEW.thumbprint: "revoked"}
    await commit(store, actions.revoke_key(OLD.thumbprint), 4)
    assert await ended(store) == [of_key("c", OLD.thumbprint)]


async def test_which_key_is_meant_is_decided_in_the_commit(store: Store) -> None:
    """Raced with a client that reuses the kid: the tokens of the key that the commit revoked end, and no others."""
    await register(store)

    async def revoke() -> str:
        try:
            await commit(store, actions.revoke_key("main"), 2)
        except ConfigError:
            return "ambiguous"
        return "revoked"

    said, *_ = await asyncio.gather(revoke(), put(store, NEW))
    found = await states(store)
    assert found == {OLD.thumbprint: "revoked", NEW.thumbprint: "active"}
    assert await ended(store) == ([of_key("c", OLD.thumbprint)] if said == "revoked" else [])
