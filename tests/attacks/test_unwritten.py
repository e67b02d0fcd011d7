"""Row 299: what cannot be written down is not done. A disk that is really full, under each endpoint that decides."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from tests.attacks.bench import API, OTHER, STRANGER, Bench, assertion, form, post
from tests.attacks.callers import ask, credentials, hire
from tests.attacks.registering import bearer, body, invite, register
from tests.wire import JSON_TYPE, Request

from affiant.errors import StoreError
from affiant.errors.reasons import Reason
from affiant.storage.entries import AuditRecord, Entry

pytestmark = pytest.mark.attack(299)
_NO_LIMIT = 2**30


def _hold(transaction: Any, pages: int) -> None:
    transaction.connection.execute(f"PRAGMA max_page_count = {pages}")


@asynccontextmanager
async def _full(bench: Bench) -> AsyncIterator[None]:
    """The file grows no more, and what was left over in its pages is used up: the least record has no room."""
    store: Any = bench.store
    await store._writer().change(partial(_hold, pages=1))
    with pytest.raises(StoreError, match="full"):
        await _use_up(bench)
    try:
        yield
    finally:
        await store._writer().change(partial(_hold, pages=_NO_LIMIT))


async def _use_up(bench: Bench) -> None:
    for number in range(10_000):
        least = AuditRecord(at=bench.clock.now, trace_id=str(number), endpoint="", outcome="read")
        await bench.store.ledger.claim(Entry(least))


async def _state(bench: Bench) -> list[Any]:
    store, now = bench.store, int(bench.clock.now)
    return [
        await store.clients.list(),
        await store.apis.list(),
        await store.signing_keys.list(),
        await store.initial_access_tokens.list(),
        await store.refresh_tokens.list(limit=10_000),
        await store.revocations.list(now),
        await store.version(),
        len(await bench.audited()),
    ]


async def _nothing_done(bench: Bench, what: Request) -> None:
    """503, as often as it is asked; and all is as it was."""
    before = await _state(bench)
    for _ in range(2):
        reply = await bench.send(what)
        assert (reply.status, reply.headers.get("retry-after")) == (503, "1"), (what.method, what.path, reply.body)
        members = reply.json()
        assert not {"access_token", "refresh_token", "active", "client_id"} & set(members)
        assert Reason.STORE.code in (members.get("reason"), members.get("error_uri", "").rpartition("/")[2])
    assert await _state(bench) == before


@pytest.mark.parametrize("client_id", ["c1", "refreshing"])
async def test_no_token_without_a_record(durable: Bench, client_id: str) -> None:
    """The jti is not used up: the very same request is good once there is room, and once only."""
    what = durable.signed(client_id)
    async with _full(durable):
        await _nothing_done(durable, what)
    assert [(await durable.send(what)).status for _ in range(2)] == [200, 401]


async def test_no_refusal_without_a_record(durable: Bench) -> None:
    """Else somebody who guesses would leave no trace while the disk is full."""
    guessed, denied = post(form(assertion(STRANGER, jti="guess"))), durable.signed(scope="admin")
    async with _full(durable):
        for what in (guessed, denied):
            await _nothing_done(durable, what)
    assert (await durable.send(guessed)).status == 401
    assert (await durable.send(denied)).json()["error"] == "invalid_scope"


async def test_no_refresh_without_a_record(durable: Bench) -> None:
    """It is not spent: afterwards it is good, and gives one successor."""
    token = (await durable.send(durable.signed("refreshing"))).json()["refresh_token"]
    what = durable.signed("refreshing", grant_type="refresh_token", refresh_token=token)
    async with _full(durable):
        await _nothing_done(durable, what)
    assert (await durable.send(what)).status == 200
    assert len(await durable.store.refresh_tokens.list("refreshing")) == 2


async def test_no_introspection_or_revocation_without_a_record(durable: Bench) -> None:
    """An introspection, a revocation, another key."""
    await durable.add_client("rs", introspects=(API,))
    token = (await durable.send(durable.signed())).json()["access_token"]
    announced = {"action": "announce", "jwk": json.dumps(OTHER.public().to_jwk())}
    asked = [
        durable.signed("rs", path="/introspect", token=token),
        durable.signed(path="/revoke", token=token),
        durable.signed(path="/client-keys", **announced),
    ]
    async with _full(durable):
        for what in asked:
            await _nothing_done(durable, what)
    assert [(await durable.send(what)).status for what in asked] == [200, 200, 201]


async def test_no_registration_without_a_record(durable: Bench) -> None:
    """Nor reads, changes or ends a registration; the one use of the token is not spent."""
    made = (await durable.send(register(await invite(durable)))).json()
    path, own = f"/register/{made['client_id']}", bearer(made["registration_access_token"])
    replaced = json.dumps({**body(client_name="x"), "client_id": made["client_id"]}).encode()
    asked = [
        register(await invite(durable)),
        Request(method="GET", path=path, headers=(own,)),
        Request(replaced, "PUT", path, headers=(JSON_TYPE, own)),
        Request(method="DELETE", path=path, headers=(own,)),
    ]
    async with _full(durable):
        for what in asked:
            await _nothing_done(durable, what)
    assert [(await durable.send(what)).status for what in asked] == [201, 200, 200, 204]


CHANGES: list[tuple[str, Any]] = [
    ("DELETE /clients/c2", None),
    ("PATCH /clients/c1", {"scope": ["r", "w"]}),
    ("POST /clients", {"client_id": "new", "token_endpoint_auth_method": "client_secret_basic"}),
    ("POST /clients/client_secret_basic/secrets", {}),
    ("POST /signing-keys", {}),
    ("POST /initial-access-tokens", {}),
    ("DELETE /apis/https://other.example", None),
    ("POST /revocations", {"kind": "all"}),  # last: whoever asks has none to ask with after it
]


async def test_no_admin_change_without_a_record(durable: Bench) -> None:
    await hire(durable)
    given = await credentials(durable, "owner")
    async with _full(durable):
        for named, sent in [*CHANGES, ("GET /clients/nobody", None)]:
            method, path = named.split(" ")
            data = b"" if sent is None else json.dumps(sent).encode()
            headers = (*given, *(() if sent is None else (JSON_TYPE,)))
            await _nothing_done(durable, Request(data, method, f"/admin/api{path}", headers=headers))
    for named, sent in CHANGES:
        assert (await ask(durable, "owner", named, sent)).status < 300, named
