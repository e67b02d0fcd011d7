"""Counts in the admin API: for plots, and for the use of clients and APIs in lists, on every store."""

from typing import Any

import pytest
from tests.admin import NOW, OWNER, asking

from affiant.errors.reasons import Reason
from affiant.server.admin.roles import Principal, Role
from affiant.storage.history.counts import API as OF_API
from affiant.storage.history.counts import DAY, HOUR, ISSUED, MINUTE, REFUSED, SERVER, Count, begin
from affiant.storage.ports import Store
from affiant.storage.records import Api, Client, KeyUse

API = "https://api.example"
_HOUR, _DAY = begin(HOUR, NOW), begin(DAY, NOW)


def _issued(number: int, unit: str = HOUR, at: int = _HOUR, client_id: str = "c") -> Count:
    return Count(unit, at, client_id, ISSUED, "", number)


def _refused(number: int, unit: str = HOUR, at: int = _HOUR, reason: str = "assertion.expired") -> Count:
    return Count(unit, at, "c", REFUSED, reason, number)


async def _fill(store: Store) -> None:
    for name in ("b", "c"):
        await store.clients.add(Client(name, "private_key_jwt", created_at=NOW - 9000))
    await store.key_uses.add([KeyUse("c", "t", 7, NOW - 5000, NOW - 40)])
    old = [_issued(50, at=_HOUR - 24 * 3600), _issued(1000, DAY, _DAY - 30 * 86_400)]
    await store.counts.add([*old, _issued(3), _issued(4, at=_HOUR - 23 * 3600), _refused(2)])
    await store.counts.add([_issued(30, DAY, _DAY), _issued(4, DAY, _DAY - 29 * 86_400), _refused(5, DAY, _DAY)])


async def test_clients_are_listed_with_their_use(store: Store) -> None:
    await _fill(store)
    async with asking(store) as http:
        items = {item["client_id"]: item for item in (await http.get("/clients")).json()["items"]}
        shown = (await http.get("/clients/c")).json()
    counted = ("uses", "last_used_at", "tokens_24h", "refusals_24h", "tokens_30d", "refusals_30d", "advice")
    assert [items["c"][name] for name in counted] == [7, NOW - 40, 7, 2, 34, 5, None]
    assert [items["b"][name] for name in counted] == [0, None, 0, 0, 0, 0, None]
    assert shown == items["c"]


async def test_use_leaves_the_tag_alone(store: Store) -> None:
    """Otherwise nobody could change a busy client."""
    await _fill(store)
    async with asking(store) as http:
        before = (await http.get("/clients/c")).headers["etag"]
        await store.counts.add([_issued(1)])
        assert (await http.get("/clients/c")).headers["etag"] == before


async def test_unused_clients_are_found(store: Store) -> None:
    """A page reads many clients and may be short; one that is new is not unused."""
    for number in range(30):
        await store.clients.add(Client(f"c{number:02}", "private_key_jwt", created_at=NOW - 1000))
    await store.clients.add(Client("new", "private_key_jwt", created_at=NOW - 10))
    await store.key_uses.add([KeyUse(f"c{number:02}", "t", 1, NOW - 500, NOW - 500) for number in range(5)])
    await store.key_uses.add([KeyUse("c07", "t", 1, NOW - 900, NOW - 50)])
    async with asking(store) as http:
        page = (await http.get("/clients?unused_for=100&limit=10")).json()
        rest = (await http.get("/clients", params={"unused_for": 100, "limit": 20, "cursor": page["next"]})).json()
        never = (await http.get("/clients?unused_for=600")).json()["items"]
    found = [item["client_id"] for item in (*page["items"], *rest["items"])]
    assert found == [f"c{number:02}" for number in range(30) if number != 7]
    assert [item["client_id"] for item in never] == [f"c{number:02}" for number in range(5, 30) if number != 7]


@pytest.mark.parametrize(
    ("tokens", "advice"),
    [
        (59, None),
        (3412, "asked for 3,412 tokens in an hour; one each 10 minutes would do: keep the token until it expires"),
    ],
)
async def test_a_client_without_a_cache_is_named(store: Store, tokens: int, advice: str | None) -> None:
    await _fill(store)
    await store.counts.add([_issued(tokens, at=_HOUR - 3600)])
    async with asking(store) as http:
        shown = (await http.get("/clients/c")).json()["advice"]
    assert (shown or "").partition(" (")[0] == (advice or "")


async def test_apis_are_listed_with_their_use(store: Store) -> None:
    await store.apis.add(Api(API, "api", (), is_default=True, created_at=NOW))
    counts = [Count(unit, at, SERVER, OF_API, API, n) for unit, at, n in ((HOUR, _HOUR, 3), (DAY, _DAY, 90))]
    await store.counts.add(counts)
    async with asking(store) as http:
        (item,) = (await http.get("/apis")).json()["items"]
        shown = await http.get(f"/apis/{API.replace('/', '%2F')}")
    assert (item["tokens_24h"], item["tokens_30d"]) == (3, 90)
    assert shown.json() == item


async def test_counts_are_series(store: Store) -> None:
    await _fill(store)
    await store.counts.add([_issued(n, MINUTE, begin(MINUTE, NOW) - 60 * n, SERVER) for n in range(1, 70)])
    async with asking(store) as http:
        whole = (await http.get("/counts?unit=minute")).json()
        one = (await http.get("/counts?client_id=c&kind=refused")).json()
        part = (await http.get(f"/counts?unit=minute&since={NOW - 180}&until={begin(MINUTE, NOW)}")).json()
    (series,) = whole["series"]
    assert (whole["unit"], whole["client_id"], len(series["points"])) == ("minute", None, 60)
    assert (series["kind"], series["label"], series["total"]) == ("issued", "", sum(range(1, 61)))
    assert one["series"] == [{"kind": "refused", "label": "assertion.expired", "total": 2, "points": [[_HOUR, 2]]}]
    assert [count for _, count in part["series"][0]["points"]] == [3, 2, 1]


@pytest.mark.parametrize(
    "query",
    [
        "unit=second",
        "kind=none",
        f"unit=minute&since={NOW - 100_000}",
        f"since={NOW}&until={NOW - 99_999}",
        "client_id=x",
    ],
)
async def test_other_questions_are_refused(store: Store, query: str) -> None:
    async with asking(store) as http:
        answer = await http.get(f"/counts?{query}")
    expected = Reason.ADMIN_NOT_FOUND if "client_id" in query else Reason.ADMIN_QUERY
    assert (answer.status_code, answer.json()["reason"]) == (expected.value.status, expected.code)


async def test_a_limited_caller_sees_the_sums_of_his_teams(store: Store) -> None:
    """Attack: the identifiers of other teams' APIs, as labels of the whole server's counts, and how busy they are."""
    await store.clients.add(Client("ours", "private_key_jwt", team="billing"))
    await store.clients.add(Client("theirs", "private_key_jwt", team="shop"))
    await store.counts.add([Count(HOUR, _HOUR, SERVER, OF_API, "https://other.example", 1)])
    await store.counts.add([_issued(n, client_id=name) for name, n in ((SERVER, 9), ("ours", 2), ("theirs", 7))])
    limited = Principal("user:ann", Role.VIEWER, is_user=True, teams=frozenset({"billing"}))
    seen: dict[str, Any] = {}
    for who in (OWNER, limited):
        async with asking(store, who) as http:
            seen[who.name] = {one["kind"]: one["total"] for one in (await http.get("/counts")).json()["series"]}
    assert seen == {OWNER.name: {"issued": 9, "api": 1}, "user:ann": {"issued": 2}}
    async with asking(store, limited) as http:
        answer = await http.get("/counts?client_id=theirs")
    assert answer.status_code == Reason.ADMIN_NOT_FOUND.value.status
