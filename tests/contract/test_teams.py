"""Teams, the clients of a team, and a registry that is limited to some records, on every store."""

from dataclasses import replace
from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import AlreadyExists, Client, NotFound, Rule, Team, Trust
from affiant.storage.registry import CLIENTS, Get, Registry, Steps, Table

PAYMENTS = Team("payments", "#payments", ("https://orders.example",), ("orders.read",), 1_800_000_000)


def client(name: str, team: str | None = None) -> Client:
    return Client(name, "private_key_jwt", team=team)


class OfTeam:
    """Has the clients of one team, the rules of these and no trust; takes no change of a disabled client."""

    has_all = False

    def __init__(self, team: str) -> None:
        self._team = team

    def among(self, table: Table[Any]) -> tuple[str, ...] | None:
        return (self._team,) if table is CLIENTS else None

    def has(self, record: Any) -> Steps[bool]:
        if isinstance(record, Rule):
            named: Client | None = yield Get(CLIENTS, record.client_id)
            return named is not None and named.team == self._team
        return isinstance(record, Client) and record.team == self._team

    def judge(self, before: Any, after: Any) -> Steps[None]:
        yield from ()
        if before is not None and not getattr(before, "enabled", True):
            raise ConfigError("it is disabled")


async def fill(store: Store) -> Registry:
    """Five clients of two teams and one of none, a rule for one of each; the registry of the team a."""
    for name, team in (("c1", "a"), ("c2", "b"), ("c3", None), ("c4", "a"), ("c5", "b"), ("c6", "a")):
        await store.clients.add(client(name, team))
    await store.trusts.add(Trust("t", "https://t.example"))
    for name, client_id in (("r1", "c1"), ("r2", "c2"), ("r3", "c3")):
        await store.rules.add(Rule(name, "t", client_id))
    return Registry(store.tables, OfTeam("a"))


async def test_team_comes_back_whole(store: Store) -> None:
    assert await store.teams.list() == []
    await store.teams.add(PAYMENTS)
    with pytest.raises(AlreadyExists, match="a team named payments exists already"):
        await store.teams.add(PAYMENTS)
    assert await store.teams.find("payments") == PAYMENTS
    changed = await store.teams.update("payments", lambda team: replace(team, scope=()))
    assert await store.teams.list() == [changed] == [replace(PAYMENTS, scope=())]
    await store.teams.remove("payments")
    with pytest.raises(NotFound, match="there is no team named payments"):
        await store.teams.remove("payments")
    assert await store.teams.find("payments") is None


async def test_clients_of_team_are_listed_in_pages(store: Store) -> None:
    await fill(store)

    async def names(team: str, **page: Any) -> list[str]:
        return [found.client_id for found in await store.clients.of_team(team, **page)]

    assert await names("a") == ["c1", "c4", "c6"]
    assert await names("a", limit=2) == ["c1", "c4"]
    assert await names("a", after="c4", limit=2) == ["c6"]
    assert await names("nothing") == await names("a\0") == []
    await store.clients.update("c4", lambda found: replace(found, team="b"))
    await store.clients.update("c2", lambda found: replace(found, team=None))
    assert (await names("a"), await names("b")) == (["c1", "c6"], ["c4", "c5"])
    await store.clients.remove("c1")
    assert await names("a") == ["c6"]


async def test_limited_registry_has_its_records_alone(store: Store) -> None:
    mine = await fill(store)
    assert [found.client_id for found in await mine.clients.list()] == ["c1", "c4", "c6"]
    assert [found.client_id for found in await mine.clients.list(after="c1", limit=1)] == ["c4"]
    assert await mine.clients.of_team("b") == []
    assert await mine.trusts.list() == []
    assert [found.client_id for found in await mine.clients.of_team("a", limit=1)] == ["c1"]
    assert (await mine.clients.find("c1"), await mine.clients.find("c2")) == (client("c1", "a"), None)
    assert await mine.clients.find("c3") is None
    assert [rule.name for rule in await mine.rules.list()] == ["r1"]
    assert (await mine.rules.find("r2"), await mine.trusts.find("t")) == (None, None)


async def test_change_of_another_record_finds_nothing(store: Store) -> None:
    """Whatever else is wrong with it: the change is not even made."""
    mine, version = await fill(store), await store.version()
    called: list[Client] = []

    def change(found: Client) -> Client:
        called.append(found)
        return replace(found, enabled=False)

    for name in ("c2", "c3", "nobody"):
        with pytest.raises(NotFound, match=f"there is no client named {name}"):
            await mine.clients.update(name, change)
        with pytest.raises(NotFound, match=f"there is no client named {name}"):
            await mine.clients.remove(name)
    with pytest.raises(NotFound):
        await mine.rules.remove("r2")
    with pytest.raises(AlreadyExists):
        await mine.clients.add(client("c2", "a"))
    assert (called, await store.version()) == ([], version)
    assert await store.clients.find("c2") == client("c2", "b")


async def test_limit_judges_in_the_commit(store: Store) -> None:
    mine = await fill(store)
    await mine.clients.update("c1", lambda found: replace(found, enabled=False))
    version = await store.version()
    with pytest.raises(ConfigError, match="it is disabled"):
        await mine.clients.update("c1", lambda found: replace(found, enabled=True))
    with pytest.raises(ConfigError, match="it is disabled"):
        await mine.clients.remove("c1")
    assert await store.version() == version
    # What depends on a removed client goes with it, whoever it belongs to.
    await mine.clients.remove("c4")
    assert [found.client_id for found in await store.clients.list()] == ["c1", "c2", "c3", "c5", "c6"]


async def test_entry_is_committed_if_its_condition_holds(store: Store) -> None:
    await fill(store)

    def named(team: str) -> Steps[None]:
        found: Client | None = yield Get(CLIENTS, "c1")
        if found is None or found.team != team:
            raise NotFound("no such client")

    version = await store.version()
    with pytest.raises(NotFound):
        await Registry(store.tables).commit(Entry(AuditRecord(0.0, "t1", "x", "revoked")), lambda: named("b"))
    await Registry(store.tables).commit(Entry(AuditRecord(0.0, "t2", "x", "revoked")), lambda: named("a"))
    assert (await store.audit_log.find("t1"), await store.version()) == (None, version)
    assert await store.audit_log.find("t2") is not None
