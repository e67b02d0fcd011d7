"""Secrets that follow each other, what an operator does to keys, and whether the old credential can go."""

import json
from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.oauth.revocations import of_key
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.server.registry.credentials import actions, secrets
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials.actions import Action
from affiant.server.registry.credentials.completion import QUIET_SECONDS, judge
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry, RefreshToken
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Client, KeyUse, NotFound

NOW = 1_800_000_000
MASTER = MasterKey.from_bytes(bytes(32))
METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
OLD, NEW = keys.generate("Ed25519").public(), keys.generate("Ed25519").public()


def _use(last_at: int, first_at: int = NOW, count: int = 1) -> KeyUse:
    return KeyUse("c", "x", count, first_at, last_at)


@pytest.mark.parametrize(
    ("old", "successors", "now", "is_safe"),
    [
        (None, [], NOW, False),
        (_use(NOW), [None], NOW + 10 * QUIET_SECONDS, False),  # silence, but nobody has moved on
        (_use(NOW), [_use(NOW)], NOW + QUIET_SECONDS - 1, False),
        (_use(NOW), [_use(NOW)], NOW + QUIET_SECONDS, True),
        (_use(NOW + 50), [_use(NOW)], NOW + QUIET_SECONDS, False),
        (_use(NOW - QUIET_SECONDS), [_use(NOW)], NOW + 1, False),  # quiet before the successor says nothing
        (None, [_use(NOW)], NOW + QUIET_SECONDS, True),
        (None, [None, _use(NOW)], NOW + QUIET_SECONDS, True),
        (_use(NOW), [_use(NOW)], NOW - 100, False),  # a clock that was set back
    ],
)
def test_when_the_old_one_can_go(old: KeyUse | None, successors: list[KeyUse | None], now: int, is_safe: bool) -> None:
    judged = judge(old, successors, now=now)
    assert judged.is_safe is is_safe
    assert judged.why


async def _store(method: str = "private_key_jwt", alg: str | None = None) -> MemoryStore:
    store = MemoryStore()
    public = (OLD,) if method == "private_key_jwt" else ()
    made = clients.build(
        Client("c", method, token_endpoint_auth_signing_alg=alg), master_key=MASTER, now=NOW, keys=public
    )
    await store.clients.add(made.client)
    return store


def _record(at: int) -> AuditRecord:
    return AuditRecord(at=NOW + at, trace_id="trace", endpoint="admin", outcome="changed", by="cli, root")


async def _commit(store: MemoryStore, action: Action, at: int = 0) -> Client:
    return await actions.commit(store, "c", action, record=_record(at))


async def _add_secret(store: MemoryStore, at: int = 0, *, old_expires_at: int | None = None) -> str:
    action, text = actions.add_secret(await _client(store), MASTER, now=NOW + at, old_expires_at=old_expires_at)
    await _commit(store, action, at)
    return text


async def _told(store: MemoryStore) -> list[dict[str, Any]]:
    return [json.loads(row.record) for row in await store.audit_log.export()]


async def _client(store: MemoryStore) -> Client:
    client = await store.clients.find("c")
    assert client is not None
    return client


async def _live(store: MemoryStore, at: int) -> list[str]:
    return [secret.id for secret in secrets.live((await _client(store)).secrets, NOW + at)]


@pytest.mark.parametrize("method", METHODS)
async def test_a_secret_is_rotated(method: str) -> None:
    """Both are good in between; then the new one alone. The text is shown, and stands nowhere."""
    store = await _store(method)
    (old,) = await _live(store, 0)
    text = await _add_secret(store, 1)
    assert len(text) >= 43
    _, new = await _live(store, 1)
    with pytest.raises(ConfigError, match="begun already"):
        await _add_secret(store, 2)
    await _commit(store, actions.retire_secret(), 3)
    assert await _live(store, 3) == [new]
    with pytest.raises(ConfigError, match="no rotation"):
        await _commit(store, actions.retire_secret(), 4)
    await _add_secret(store, 5)
    assert old not in [secret.id for secret in (await _client(store)).secrets], "what has ended is forgotten"
    told = await _told(store)
    assert [(row["outcome"], row["by"], row["subject"]) for row in told] == [
        (outcome, "cli, root", "client c") for outcome in ("added", "retired", "added")
    ]
    assert text not in json.dumps(told)


async def test_a_secret_rotation_is_cancelled() -> None:
    store = await _store("client_secret_basic")
    (old,) = await _live(store, 0)
    await _add_secret(store, old_expires_at=NOW + 100)
    await _commit(store, actions.cancel_secret(), 50)
    assert await _live(store, 1000) == [old]
    with pytest.raises(ConfigError, match="no rotation"):
        await _commit(store, actions.cancel_secret(), 60)


async def test_an_old_secret_ends_by_itself() -> None:
    store = await _store("client_secret_post")
    (old,) = await _live(store, 0)
    with pytest.raises(ConfigError, match="future"):
        await _add_secret(store, old_expires_at=NOW)
    await _add_secret(store, old_expires_at=NOW + 100)
    assert (await _live(store, 99))[0] == old
    assert old not in await _live(store, 100)


async def test_a_secret_for_a_longer_hash_is_longer() -> None:
    store = await _store("client_secret_jwt", "HS512")
    text = await _add_secret(store)
    assert len(text) == 86


async def test_a_leaked_secret_takes_its_tokens_along() -> None:
    store = await _store("client_secret_basic")
    (old,) = await _live(store, 0)
    token = RefreshToken(b"r", "f", "c", (), "https://a", NOW, NOW + 9, NOW + 9, key_thumbprint=old)
    await store.ledger.claim(Entry(_record(0), new_refresh=token))
    await _commit(store, actions.revoke_secret(old), 1)
    assert await _live(store, 1) == []
    (ended,) = await store.revocations.list(NOW)
    assert (ended.kind, ended.value, ended.until) == ("key", of_key("c", old), NOW + 1 + LONGEST_TOKEN)
    found = await store.refresh_tokens.find(b"r")
    assert found is not None
    assert found.revoked_at is not None
    with pytest.raises(NotFound):
        await _commit(store, actions.revoke_secret("unknown"), 2)


async def test_what_an_operator_does_to_keys() -> None:
    store = await _store()

    async def states(at: int) -> list[str]:
        return [client_keys.state(key, NOW + at) for key in (await _client(store)).keys]

    await _commit(store, actions.add_key(client_keys.build(NEW, now=NOW)))
    assert await states(0) == ["active", "active"]
    await _commit(store, actions.retire_key(OLD.kid, overlap=60), 1)
    assert await states(1) == ["retiring", "active"]
    await _commit(store, actions.cancel_key(NEW.kid), 2)
    assert await states(2) == ["active", "revoked"]
    await _commit(store, actions.revoke_key(OLD.kid), 3)
    assert await states(3) == ["revoked", "revoked"], "an operator may shut a client out"
    assert [row.value for row in await store.revocations.list(NOW)] == [of_key("c", OLD.thumbprint)]
    assert [row["outcome"] for row in await _told(store)] == ["added", "retired", "cancelled", "revoked"]
    before = await store.version()
    for action in (
        actions.add_key(client_keys.build(OLD, now=NOW)),
        actions.retire_key("unknown"),
        actions.add_secret(await _client(store), MASTER, now=NOW)[0],
    ):
        with pytest.raises((ConfigError, NotFound)):
            await _commit(store, action, 4)
    with pytest.raises(NotFound):
        await actions.commit(store, "unknown", actions.revoke_key(OLD.kid), record=_record(4))
    assert await store.version() == before
    assert len(await _told(store)) == 4
