"""A list reads its page alone, whoever asks: not all clients of a large server."""

from typing import Any

import pytest
from tests.admin import member

from affiant.server.admin.access.store import open_for
from affiant.server.admin.roles import Principal, Role
from affiant.storage.memory import MemoryStore


@pytest.mark.parametrize("teams", [None, frozenset({"payments"})])
async def test_a_list_reads_its_page_alone(teams: frozenset[str] | None) -> None:
    store, read = MemoryStore(), list[Any]()
    for number in range(5):
        await store.clients.add(member(f"c{number}", team="payments"))
    tables: Any = store.tables
    rows = tables.rows

    async def count(step: Any) -> Any:
        found = await rows(step)
        read.extend(found)
        return found

    tables.rows = count
    found = await open_for(store, Principal("who", Role.VIEWER, teams=teams)).clients.list(after="c0", limit=2)
    assert [client.client_id for client in found] == ["c1", "c2"]
    assert read == found
