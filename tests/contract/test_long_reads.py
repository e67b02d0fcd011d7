"""No read of the admin API keeps the event loop: health checks are answered while each of them runs, on every store.

With slices of one row, so that the outcome does not depend on how quick the machine is: a read that skipped the slices
would leave no turn of the loop to other requests.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.admin import ADMIN, ISSUER, NOW, asking

from affiant.server.admin import lists, reads
from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.routes.operation import Operation
from affiant.storage.entries import AuditRecord, Entry, RefreshToken, Revocation
from affiant.storage.ports import Store
from affiant.storage.records import Api, ClaimCondition, Client, InitialAccessToken, Rule, Team, Trust
from affiant.testing import Server

ROWS = 60
# Of these no server has many, or the store searches them.
FEW = {"/signing-keys", "/tokens/{jti}", "/search", "/refused-tokens", "/users", "/sessions"}
FEW |= {"/counts", "/counts/clients", "/counts/active"}
NAMED = {"/search": {"q": "client"}, "/counts/clients": {"named": "client-0001"}}
QUARTERS = {"/apis", "/initial-access-tokens", "/trusts", "/rules", "/teams"}  # of which there are a quarter as many
TOKEN = RefreshToken(b"", "f", "c", ("read",), "https://a", NOW, NOW + 1000, NOW + 1500)
EXPLAINED = {
    "request": f"curl {ISSUER}/token -d client_id=client-x -d client_secret=s -d grant_type=client_credentials"
}
BODIES = {
    "/explain": EXPLAINED,
    "/dry-run": {"changes": [{"action": "remove", "kind": "client", "name": "client-0001"}]},
}
# POST /explain/planned fetches the keys of an issuer, and reads no rows.
LONG = [route for route in OPERATIONS if route.is_admitted and route.path != "/explain/planned"]
LISTS = {route.path for route in LONG if route.is_list and route.path != "/audit/export"}


@pytest.fixture
async def server(make_store: Callable[..., Store]) -> AsyncIterator[Server]:
    """A server with many rows of every kind."""
    async with Server.in_process(store=make_store()) as server:
        await server.add_api("https://default.example", scope=("read",), is_default=True)
        for number in range(ROWS):
            await server.store.clients.add(Client(f"client-{number:04}", "private_key_jwt", scope=("read",)))
        await asyncio.gather(*(_add(server.store, number) for number in range(ROWS)))
        yield server


async def _add(store: Store, number: int) -> None:
    record = AuditRecord(at=NOW, trace_id=f"t{number}", endpoint="token", outcome="issued")
    digest = number.to_bytes(2, "big")
    revocation = Revocation("jti", str(number), NOW, NOW + 600)
    await store.ledger.claim(
        Entry(record, new_refresh=replace(TOKEN, digest=digest, family=str(number)), revocations=(revocation,))
    )
    if number % 4 == 0:
        url = f"https://api{number:03}.example"
        await store.apis.add(Api(url, "api", ("read",), is_default=False, created_at=NOW))
        await store.initial_access_tokens.add(InitialAccessToken(str(number), digest, (), (), NOW, NOW + 600, 1))
        await store.trusts.add(Trust(f"t{number:03}", f"https://issuer{number:03}.example"))
        await store.teams.add(Team(f"team{number:03}"))
        await store.rules.add(Rule(f"r{number:03}", f"t{number:03}", "client-0001", (ClaimCondition("sub", ("s",)),)))


async def test_health_is_answered_while_each_is_read(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "SLICE_SECONDS", 0.0)
    for route in LONG:
        query = {"endpoint": "token"} if route.path == "/audit" else NAMED.get(route.path, {})
        for accept in ("application/json", lists.LINES) if route.is_list else ("application/json",):
            answered = await _read(server, route, {**query, **_limit(route)}, accept)
            assert answered >= _rows(route), f"{route.path} as {accept} left the loop {answered} times"


def _limit(route: Operation) -> dict[str, str]:
    return {"limit": "1000"} if route.path in LISTS else {}


def _rows(route: Operation) -> int:
    """How many it looks at, a slice each; the search for a name has slices of its own."""
    if route.path in FEW or route.path.startswith("/explain") or route.method == "POST":
        return 1
    return ROWS // 4 if route.path in QUARTERS else ROWS


async def _read(server: Server, route: Operation, query: dict[str, str], accept: str) -> int:
    """Read it to its end; how many health checks were answered during that time, one in each turn of the loop."""
    answered = 0
    url = f"{ADMIN}{route.path}".format(jti="none", trace_id="t1")
    body = BODIES[route.path] if route.method == "POST" else None
    async with asking(server.store) as admin, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(admin.request(route.method, url, params=query, json=body, headers={"accept": accept}))
        while not asked.done():
            assert (await server.http.get("/health/live")).status_code == 200
            answered += 1
            await asyncio.sleep(0)
    reply = asked.result()
    assert reply.status_code == (404 if "{jti}" in route.path else 200), reply.text
    return answered


async def test_pages_of_every_list_follow_each_other(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large pages and reads are: every item once, and the last page has no next one."""
    monkeypatch.setattr(lists, "PAGE", 16)
    async with asking(server.store) as admin:
        for path in sorted(LISTS):
            lines = (await admin.get(f"{ADMIN}{path}", headers={"accept": lists.LINES})).text.splitlines()
            assert len(lines) >= (0 if path in FEW else ROWS // 4)
            for limit in (7, 16, 40, 1000):
                found = [item async for item in _paged(admin, path, limit)]
                assert found == list(map(json.loads, lines)), (path, limit)


async def _paged(admin: httpx2.AsyncClient, path: str, limit: int) -> AsyncIterator[Any]:
    query = {"limit": str(limit)}
    while True:
        page = (await admin.get(f"{ADMIN}{path}", params=query)).json()
        for item in page["items"]:
            yield item
        if page["next"] is None:
            return
        query["cursor"] = page["next"]
