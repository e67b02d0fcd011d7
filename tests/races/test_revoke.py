"""Revoke against refresh against introspect, on two nodes at once: what was acknowledged as over is over everywhere."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from tests.rfc.conftest import API, running

from affiant.jose import compact
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry, RefreshSelection, Revocation
from affiant.storage.ports import Store
from affiant.storage.postgres import PostgresStore
from affiant.storage.sqlite import SqliteStore
from affiant.testing import NOW, Server, basic

CLIENTS = tuple(f"client-{number}" for number in range(4))
TASKS = 8


@dataclass
class Line:
    """What one client got with one family of refresh tokens."""

    client_id: str
    family: str
    refresh: str
    tokens: list[str] = field(default_factory=list)


@dataclass
class History:
    """What was acknowledged, in the order in which it was heard of; and what contradicts it."""

    over: set[str] = field(default_factory=set)  # names of families and jtis
    lines: list[Line] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)

    def is_over(self, token: str) -> bool:
        jti = compact.parse(token).claims["jti"]
        return jti in self.over or jti.partition(".")[0] in self.over


class Nodes:
    """Two nodes on one store, and actions that may happen at any moment."""

    def __init__(self, first: Server, https: list[httpx2.AsyncClient], dice: random.Random) -> None:
        self.first, self.https, self.dice = first, https, dice
        self.history = History()

    async def act(self) -> None:
        lines = self.history.lines
        if len(lines) < 4 or self.dice.random() < 0.05:
            await self.issue()
            return
        line = self.dice.choice(lines[-12:])
        acts = (self.refresh, self.introspect, self.introspect, self.revoke_line, self.revoke_token, self.end_client)
        act = self.dice.choices(acts, (30, 25, 25, 6, 10, 1))[0]
        self.history.counted[act.__name__] = self.history.counted.get(act.__name__, 0) + 1
        await act(line)

    async def issue(self) -> None:
        client_id = self.dice.choice(CLIENTS)
        reply = await self._post("/token", self._form(client_id))
        assert reply.status_code == 200, reply.text
        made = reply.json()
        family = compact.parse(made["access_token"]).claims["jti"].partition(".")[0]
        self.history.lines.append(Line(client_id, family, made["refresh_token"], [made["access_token"]]))

    async def refresh(self, line: Line) -> None:
        """What it brings belongs to its line: it is over with it, whichever was first in the store."""
        was_over = line.family in self.history.over
        form = self._form(line.client_id, grant_type="refresh_token", refresh_token=line.refresh)
        reply = await self._post("/token", form)
        if reply.status_code == 200:
            if was_over:
                self.history.wrong.append(f"a refresh of {line.family} after its end")
            line.refresh = reply.json()["refresh_token"]
            line.tokens.append(reply.json()["access_token"])

    async def introspect(self, line: Line) -> None:
        token = self.dice.choice(line.tokens)
        was_over = self.history.is_over(token)
        headers = basic("rs", self.first.secrets["rs"])
        reply = await self._post("/introspect", {"token": token}, headers=headers)
        if reply.json()["active"] and was_over:
            self.history.wrong.append(f"a token of {line.family} active after its end")

    async def revoke_line(self, line: Line) -> None:
        reply = await self._post("/revoke", {**self._form(line.client_id), "token": line.refresh})
        assert reply.status_code == 200, reply.text
        self.history.over.add(line.family)

    async def revoke_token(self, line: Line) -> None:
        token = self.dice.choice(line.tokens)
        reply = await self._post("/revoke", {**self._form(line.client_id), "token": token})
        assert reply.status_code == 200, reply.text
        self.history.over.add(compact.parse(token).claims["jti"])

    async def end_client(self, line: Line) -> None:
        """As an operator does: all that the client has now, while its requests are under way."""
        now = int(self.first.clock.now)
        begun = [one for one in self.history.lines if one.client_id == line.client_id]
        audit = AuditRecord(at=now, trace_id="operator", endpoint="admin", outcome="revoked")
        ended = Revocation("client", line.client_id, now, now + LONGEST_TOKEN)
        selection = RefreshSelection(client_id=line.client_id)
        await self.first.store.ledger.claim(Entry(audit, revocations=(ended,), revoke_refresh=selection))
        self.history.over.update(one.family for one in begun)
        self.first.clock.now += 5

    async def _post(self, path: str, form: dict[str, Any], **options: Any) -> httpx2.Response:
        return await self.dice.choice(self.https).post(path, data=form, **options)

    def _form(self, client_id: str, **parameters: str) -> dict[str, Any]:
        return self.first.form(self.first.assertion(client_id), **parameters)


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    if request.param == "sqlite":
        return partial(SqliteStore, tmp_path / "race.db")
    return partial(PostgresStore, request.getfixturevalue("tables"))


@pytest.fixture
async def nodes(make: Callable[[], Store]) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(make()))
        nodes = [Server.in_process(store=make(), clock=first.clock) for _ in range(2)]
        https = [(await stack.enter_async_context(node)).http for node in nodes]
        await first.add_client("rs", "client_secret_basic", introspects=(API,))
        for client_id in CLIENTS:
            await first.add_client(client_id, grant_types=("client_credentials", "refresh_token"))
        await asyncio.sleep(1.1)  # until every node has seen them
        yield Nodes(first, https, random.Random(NOW))


@pytest.mark.parametrize("acts", [600, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_nothing_is_active_after_its_acknowledged_end(nodes: Nodes, acts: int) -> None:
    """Every answer that contradicts an acknowledgement that its asker had heard of before it asked."""

    async def task(number: int) -> None:
        for _ in range(acts // TASKS):
            await nodes.act()
            nodes.first.clock.now += 0.01 * (number == 0)

    await asyncio.gather(*map(task, range(TASKS)))
    history = nodes.history
    print(history.counted, f"{len(history.lines)} lines, {len(history.over)} names are over")
    assert not history.wrong
    assert len(history.counted) == 5
    for line in history.lines[-50:]:
        for token in line.tokens:
            headers = basic("rs", nodes.first.secrets["rs"])
            for http in nodes.https:
                members = (await http.post("/introspect", data={"token": token}, headers=headers)).json()
                assert not (members["active"] and history.is_over(token))


async def test_a_refresh_and_its_end_at_the_same_moment(nodes: Nodes) -> None:
    """A hundred times, in either order: no token of the family is valid once both were answered."""
    for _ in range(100):
        await nodes.issue()
        line = nodes.history.lines[-1]
        await asyncio.gather(nodes.refresh(line), nodes.revoke_line(line))
        reply = await nodes._post(
            "/token", nodes._form(line.client_id, grant_type="refresh_token", refresh_token=line.refresh)
        )
        assert reply.json()["error"] == "invalid_grant"
        for token in line.tokens:
            headers = basic("rs", nodes.first.secrets["rs"])
            members = (await nodes._post("/introspect", {"token": token}, headers=headers)).json()
            assert members == {"active": False}


@pytest.mark.attack(241)
async def test_one_api_asks_a_thousand_times(nodes: Nodes) -> None:
    """Of one token, through both nodes, while its line is refreshed: each is answered in time, and each the same."""
    await nodes.issue()
    line, seconds = nodes.history.lines[-1], list[float]()
    token = line.tokens[0]

    async def ask(number: int) -> None:
        headers = basic("rs", nodes.first.secrets["rs"])
        for _ in range(50):
            begun = time.perf_counter()
            reply = await nodes.https[number % 2].post("/introspect", data={"token": token}, headers=headers)
            seconds.append(time.perf_counter() - begun)
            assert (reply.status_code, reply.json()["active"]) == (200, True), reply.text
            if number == 0:
                await nodes.refresh(line)

    begun = time.perf_counter()
    await asyncio.gather(*map(ask, range(20)))
    rate, p99 = len(seconds) / (time.perf_counter() - begun), statistics.quantiles(seconds, n=100)[98]
    print(f"{rate:.0f} introspections/s, p99 {p99 * 1000:.0f} ms, two nodes and their asker in one process")
    assert len(seconds) == 1000
    assert len(line.tokens) == 51
    assert p99 < 1


@pytest.mark.attack(241)
async def test_an_introspection_waits_for_no_row(database: str) -> None:
    """With the rows of the refresh token, the client and a revocation locked, it is answered."""
    async with running(PostgresStore(database)) as server:
        await server.add_client("rs", "client_secret_basic", introspects=(API,))
        await server.add_client("c", grant_types=("client_credentials", "refresh_token"))
        await asyncio.sleep(1.1)
        made = (await server.http.post("/token", data=server.form(server.assertion("c")))).json()
        ended = Revocation("jti", "another", NOW, NOW + 60)
        await server.store.ledger.claim(
            Entry(AuditRecord(at=NOW, trace_id="t", endpoint="revoke", outcome="revoked"), revocations=(ended,))
        )
        holding = await asyncpg.connect(database)
        try:
            await holding.execute("BEGIN")
            for table in ("refresh_token", "client", "revocation"):
                assert await holding.fetch(f"SELECT FROM {table} FOR UPDATE")
            headers = basic("rs", server.secrets["rs"])
            async with asyncio.timeout(1):
                reply = await server.http.post("/introspect", data={"token": made["access_token"]}, headers=headers)
            assert reply.json()["active"] is True
        finally:
            await holding.close()
