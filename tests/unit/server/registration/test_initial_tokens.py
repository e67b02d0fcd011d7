from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.server.keys.master_key import MasterKey
from affiant.server.registration import initial_tokens
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.memory import MemoryStore

MASTER_KEY = MasterKey.from_bytes(bytes(32))
GOOD: dict[str, Any] = {"scope": ("r",), "resources": (), "lifetime_seconds": 60, "uses": 1, "now": 100}


async def test_only_a_digest_of_it_is_kept() -> None:
    store = MemoryStore()
    options: dict[str, Any] = {**GOOD, "resources": ("https://a.example",), "types": ("payment",)}
    token, text = await initial_tokens.issue(store, MASTER_KEY, **options)
    assert len(text) == 43
    assert text not in repr(token)
    assert await store.initial_access_tokens.find(MASTER_KEY.digest(text)) == token
    assert (token.scope, token.resources, token.authorization_details_types) == (
        ("r",),
        ("https://a.example",),
        ("payment",),
    )
    assert (token.created_at, token.expires_at, token.uses) == (100, 160, 1)


async def test_its_audit_record_is_in_its_commit() -> None:
    store = MemoryStore()
    token, _ = await initial_tokens.issue(
        store, MASTER_KEY, **GOOD, audit=lambda _, after: [Entry(AuditRecord(1, after.id, "cli", "issued"))]
    )
    assert await store.audit_log.find(token.id) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"lifetime_seconds": 0},
        {"lifetime_seconds": 366 * 86_400 + 1},
        {"uses": 0},
        {"uses": 10_001},
        {"scope": ('a"b',)},
        {"resources": ("x",)},
        {"types": ("a b",)},
    ],
)
async def test_wrong_bounds_are_rejected(change: dict[str, Any]) -> None:
    store = MemoryStore()
    with pytest.raises(ConfigError):
        await initial_tokens.issue(store, MASTER_KEY, **{**GOOD, **change})
    assert await store.initial_access_tokens.list() == []
