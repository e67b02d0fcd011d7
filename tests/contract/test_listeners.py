"""Listeners of a store: they take every audit record that this process committed, and no other."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest
from tests.stores import NOW, entry, nodes, records

from affiant.errors import Error
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import Client


def _listen(store: Store) -> list[bytes]:
    heard: list[bytes] = []

    def take(committed: Sequence[bytes]) -> None:
        heard.extend(committed)

    store.listeners.append(take)
    return heard


def _audit(before: object, after: object) -> list[Entry]:
    del before, after
    return [Entry(AuditRecord(at=NOW, trace_id="changed", endpoint="admin", outcome="created"))]


async def test_each_committed_record_is_heard_as_it_is_stored(store: Store) -> None:
    """Claims that win and lose, alone and together, and changes of the registry; in the order of the log."""
    heard = _listen(store)
    await asyncio.gather(*(store.ledger.claim(entry(number % 7)) for number in range(20)))
    await store.clients.add(Client("c", "private_key_jwt"), audit=_audit)
    await store.ledger.claim(entry(99))
    assert heard == [row.record for row in await store.audit_log.export()]
    assert len(heard) == 22
    assert [msgspec.json.decode(record)["outcome"] for record in heard].count("refused") == 13


async def test_what_is_not_committed_is_not_heard(store: Store) -> None:
    await store.clients.add(Client("c", "private_key_jwt"))
    heard = _listen(store)
    with pytest.raises(Error):
        await store.clients.add(Client("c", "private_key_jwt"), audit=_audit)
    assert heard == []


async def test_a_node_hears_its_own_commits_alone(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store, 2) as stores:
        if stores[0] is stores[1]:
            return
        heard = [_listen(store) for store in stores]
        await asyncio.gather(*(stores[n % 2].ledger.claim(entry(n, trace_id=f"{n % 2}-{n}")) for n in range(20)))
        traces = [[msgspec.json.decode(record)["trace_id"] for record in one] for one in heard]
        assert [{trace[0] for trace in one} for one in traces] == [{"0"}, {"1"}]
        assert sorted(traces[0] + traces[1]) == sorted(record["trace_id"] for record in await records(stores[0]))
