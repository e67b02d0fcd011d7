"""The history that plots show: what strangers, clients with wrong clocks and removed clients leave in it."""

from pathlib import Path

from tests.attacks.bench import API, STRANGER

from affiant.server.request.limits import Rate, Rates
from affiant.storage.history.counts import DAY, HOUR, KEY, MINUTE, OTHER, SERVER, Selection
from affiant.storage.ports import Store
from affiant.storage.sqlite import SqliteStore
from affiant.testing import UNLIMITED, Server

ALWAYS = (0, 2**40)
SHOWN = ("issued", "refused", "other", "age", "api")


async def _counts(store: Store, client_id: str = SERVER, unit: str = HOUR) -> dict[str, int]:
    found = await store.counts.totals(Selection(unit, *ALWAYS, (client_id,), SHOWN))
    return {f"{total.kind} {total.label}".strip(): total.count for total in found}


async def _add(server: Server, *names: str) -> None:
    await server.add_api(API, scope=("r",), is_default=True)
    for name in names:
        await server.add_client(name, scope=("r",))


async def test_strangers_grow_no_table() -> None:
    """Made-up names, and a stranger in the name of a client: only the registered client has rows of its own."""
    async with Server.in_process(rates=UNLIMITED) as server:
        await _add(server, "c1")
        for number in range(200):
            await server.post(server.form(server.assertion(f"made-up-{number}", key=STRANGER)))
        await server.post(server.form(server.assertion("c1", key=STRANGER)))
        await server.post({"grant_type": "client_credentials", "client_id": "c\0", "client_secret": "s" * 40})
    store = server.store
    assert await _counts(store, "c1") == {"refused key.unknown": 1}
    assert sum((await _counts(store)).values()) == 202
    assert [top.client_id for top in await store.counts.top(Selection(HOUR, *ALWAYS), 500)] == ["c1"]
    assert await _counts(store, unit=DAY) == await _counts(store, unit=MINUTE) == await _counts(store)


async def test_every_decision_is_counted_once() -> None:
    """Issued, refused for a repeated jti, limited, and those of another endpoint."""
    async with Server.in_process(rates=Rates(failures=Rate(50, 1.0), tokens=Rate(3, 0.1))) as server:
        await _add(server, "c1", "c2")
        repeated = server.form(server.assertion("c1", jti="same"))
        replies = [await server.post(repeated) for _ in range(2)]
        replies += [await server.post(server.form(server.assertion("c1"))) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 401, 200, 200, 429]
        form = server.form(server.assertion("c2"), grant_type="absent", token="none")
        assert (await server.post(form, path="/revoke")).status_code == 200
    store = server.store
    refused = {"refused assertion.replayed": 1, "refused limit.tokens": 1}
    assert await _counts(store, "c1") == {"issued": 3, **refused}
    assert await _counts(store, "c1", DAY) == {"issued": 3, f"api {API}": 3, **refused}
    whole = {name: n for name, n in (await _counts(store)).items() if not name.startswith("age ")}
    assert whole == {"issued": 3, f"api {API}": 3, "other revoke revoked": 1, **refused}
    for client_id, uses in (("c1", 3), ("c2", 1)):
        (key,) = await store.counts.totals(Selection(HOUR, *ALWAYS, (client_id,), (KEY,)))
        (use,) = await store.key_uses.list(client_id)
        assert (key.label, key.count) == (use.credential, use.count) == (use.credential, uses)
    assert await store.counts.totals(Selection(HOUR, *ALWAYS, ("c2",), (OTHER,))) == []


async def test_a_wrong_clock_shows() -> None:
    """By the age of what the client signed, accepted or not; what is no number counts for nothing."""
    async with Server.in_process() as server:
        await _add(server, "c1")
        now = int(server.clock.now)
        for ahead, status in ((20, 200), (-40, 200), (600, 401)):
            made = server.assertion("c1", iat=now + ahead, exp=now + max(ahead, 0) + 60)
            assert (await server.post(server.form(made))).status_code == status
        for iat in (10**400, "soon", True, [now]):
            assert (await server.post(server.form(server.assertion("c1", iat=iat)))).status_code == 401
        await server.post(server.form(server.assertion("c1")))
    shown = await _counts(server.store, "c1", DAY)
    assert {name: number for name, number in shown.items() if name.startswith("age")} == {
        "age -10": 1,
        "age -60": 2,
        "age 60": 1,
    }


async def test_counts_outlive_the_server(tmp_path: Path) -> None:
    """Two servers on one file, one after the other."""
    for run in (1, 2):
        async with Server.in_process(store=SqliteStore(tmp_path / "affiant.db")) as server:
            if run == 1:
                await _add(server, "c1")
            await server.post(server.form(server.assertion("c1")))
        async with Server.in_process(store=SqliteStore(tmp_path / "affiant.db")) as server:
            assert (await _counts(server.store, "c1"))["issued"] == run
