"""The admin API on every store: a whole life, the last owner on two nodes, and a disk that is full."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.admin import ADMIN, MASTER, NOW, asking, make_gate, member, open_api

from affiant.errors import StoreError
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.server.admin.roles import Principal, Role
from affiant.server.keys import signing_keys
from affiant.server.keys.vault import Vault
from affiant.server.registry import clients
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry
from affiant.storage.ports import Store
from affiant.storage.records import Client, KeyUse

API = "https://orders.example"
LINES = {"Accept": "application/jsonl"}
KEY, NEXT = keys.generate("ES256"), keys.generate("ES256")


@pytest.fixture
async def store(make_store: Callable[..., Store]) -> AsyncIterator[Store]:
    """An open store of each make, whose audit log is chained under the master key."""
    made = make_store(audit_key=MASTER.audit)
    await made.open()
    await signing_keys.ensure(made, Vault(MASTER), now=NOW)
    await open_api(made)
    await made.clients.add(member("owner"))
    yield made
    await made.close()


async def done(answer: httpx2.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def test_life_of_a_client(store: Store) -> None:
    async with asking(store) as http:
        await done(await http.post("/apis", json={"identifier": API, "name": "orders", "scopes": ["r", "w"]}), 201)
        wanted = {"client_id": "c", "jwks": {"keys": [KEY.public().to_jwk()]}, "scope": ["r"], "resources": [API]}
        await done(await http.post("/clients", json=wanted), 201)
        assert (await done(await http.post("/clients", json=wanted), 409))["reason"] == "admin.exists"
        shown = await http.get("/clients/c")
        tag = {"If-Match": shown.headers["etag"]}
        await done(await http.patch("/clients/c", json={"scope": ["r", "w"]}, headers=tag))
        assert (await http.patch("/clients/c", json={"scope": []}, headers=tag)).status_code == 412
        odd = {"keys": [{"kty": "?", "kid": "e"}, KEY.public().to_jwk()]}
        answer = await done(await http.patch("/clients/c", json={"jwks": odd}))
        assert answer["jwks_left_out"] == ['key 1 ("e") of the JWK Set: kty must be RSA, EC, OKP or AKP']
        await done(await http.post("/clients/c/keys", json={"jwk": NEXT.public().to_jwk()}), 201)
        await done(await http.post("/clients/c/keys/revoke", json={"kid": KEY.kid}))
        await done(await http.post("/initial-access-tokens", json={"scope": ["r"]}), 201)
        (grant,) = [row for row in (await done(await http.get("/grants")))["items"] if row["client_id"] == "c"]
        assert (grant["resource"], grant["scope"]) == (API, ["r", "w"])
        await done(await http.delete("/clients/c"), 204)
        assert (await http.get("/clients/c")).status_code == 404
        ended = [(row["kind"], row["value"]) for row in (await done(await http.get("/revocations")))["items"]]
        assert ("client", "c") in ended
        verified = await done(await http.get("/audit/verification"))
        assert (verified["holds"], verified["number"]) == (True, (await store.audit_log.head()).number)
        by = {row["record"]["by"] for row in (await done(await http.get("/audit")))["items"]}
        assert by == {"owner"}


async def test_lists_are_the_same_by_pages_and_by_lines(store: Store) -> None:
    for number in range(5):
        await store.clients.add(member(f"c{number}", Role.VIEWER))
    async with asking(store) as http:
        for path in ("clients", "apis", "signing-keys", "initial-access-tokens", "revocations", "grants", "audit"):
            found, cursor = [], None
            while True:
                page = await done(
                    await http.get(f"/{path}", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
                )
                found += page["items"]
                if (cursor := page["next"]) is None:
                    break
            lines = (await http.get(f"/{path}", headers=LINES)).text.splitlines()
            assert [json.loads(line) for line in lines] == found, path


@pytest.mark.attack(301)
@pytest.mark.parametrize("make_store", ["sqlite", "postgres"], indirect=True)
async def test_two_owners_do_not_end_each_other(store: Store, make_store: Callable[..., Store]) -> None:
    """On two nodes in one moment: removed, disabled or demoted, one owner is left."""
    other = make_store(audit_key=MASTER.audit)
    await other.open()
    left, off, less = "owner", {"enabled": False}, {"scope": ["admin.viewer"]}
    try:
        for number, (one, two) in enumerate([(None, None), (None, off), (off, less), (less, None), (less, off)]):
            a, b = f"a{number}", f"b{number}"
            for name in (a, b):
                await store.clients.add(member(name))
            await store.clients.remove(left)
            async with (
                asking(store, Principal(a, Role.OWNER)) as here,
                asking(other, Principal(b, Role.OWNER)) as there,
            ):
                answers = await asyncio.gather(end(here, b, one), end(there, a, two))
                assert sorted(answer.status_code == 409 for answer in answers) == [False, True], answers
                reasons = [answer.json()["reason"] for answer in answers if answer.status_code == 409]
                assert reasons == ["admin.last_owner"]
            found = await store.clients.list()
            (left,) = [client.client_id for client in found if client.enabled and "admin.owner" in client.scope]
    finally:
        await other.close()


async def end(http: httpx2.AsyncClient, name: str, change: dict[str, Any] | None) -> httpx2.Response:
    return await (http.delete(f"/clients/{name}") if change is None else http.patch(f"/clients/{name}", json=change))


ROTATIONS: dict[str, dict[str, Any] | None] = {
    "keys": {"jwk": NEXT.public().to_jwk()},
    "keys/complete": {"kid": KEY.kid},
    "keys/cancel": {"kid": KEY.kid},
    "keys/revoke": {"kid": KEY.kid},
    "secrets": {},
    "secrets/complete": None,
    "secrets/cancel": None,
    "secrets/revoke": {"id": "one"},
}


@pytest.mark.attack(287)
async def test_operator_does_not_overtake_who_gives_a_role(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner gives a client a role between the moment that an operator's call finds it and its commit."""
    for path in ROTATIONS:
        await _overtaken(store, monkeypatch, path)
        await store.clients.remove("c")


async def _overtaken(store: Store, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    method = "client_secret_basic" if path.startswith("secrets") else "private_key_jwt"
    made = clients.build(
        Client("c", method), master_key=MASTER, now=NOW, keys=() if "secrets" in path else (KEY.public(),)
    )
    twice = tuple(replace(secret, id=name) for secret in made.client.secrets for name in ("one", "two"))
    await store.clients.add(replace(made.client, secrets=twice[: 1 if path == "secrets" else 2]))
    hold: Any = store.tables
    get = hold.get

    async def overtaken(step: Any) -> Any:
        found = await get(step)
        monkeypatch.setattr(hold, "get", get)
        await store.clients.update("c", lambda client: replace(client, scope=("admin.owner",), resources=(ADMIN,)))
        return found

    monkeypatch.setattr(hold, "get", overtaken)
    async with asking(store, Principal("op", Role.OPERATOR)) as http:
        answer = await http.post(f"/clients/c/{path}", json=ROTATIONS[path])
    assert (answer.status_code, answer.json()["reason"]) == (403, Reason.ADMIN_OWNER_ONLY.code), path
    after = await store.clients.find("c")
    assert after is not None
    assert after.scope == ("admin.owner",)
    assert (after.keys, after.secrets) == (made.client.keys, twice[: 1 if path == "secrets" else 2])
    assert await store.revocations.list(NOW) == []


@pytest.mark.attack(299)
@pytest.mark.parametrize("make_store", ["sqlite"], indirect=True)
async def test_full_disk_changes_nothing(store: Store, tmp_path: Path) -> None:
    """A change that cannot be written down whole, with its record and its revocation, is none: 503."""
    for number in range(200):
        await store.clients.add(member(f"c{number:03}", Role.VIEWER))
    before = await whole(store)
    hold: Any = store
    writer = hold._writer()
    await writer.change(fill)
    async with asking(store) as http:
        left = iter(range(200))
        attempts: list[Callable[[], Any]] = [
            lambda: http.patch(f"/clients/c{next(left):03}", json={"enabled": False}),
            lambda: http.delete(f"/clients/c{next(left):03}"),
            lambda: http.post(
                "/clients", json={"client_id": "n" * 64, "token_endpoint_auth_method": "client_secret_basic"}
            ),
            lambda: http.post("/apis", json={"identifier": API, "name": "x" * 100}),
            lambda: http.post("/revocations", json={"kind": "jti", "value": "x" * 256}),
            lambda: http.post("/initial-access-tokens", json={}),
            lambda: http.post("/signing-keys", json={}),
            lambda: http.post("/clients/c001/secrets", json={}),
        ]
        for number, attempt in enumerate(attempts):
            # What pages have left over is used up first: then it refuses, and from then on always.
            before, answer = await whole(store), await attempt()
            while answer.status_code != 503:
                before, answer = await whole(store), await attempt()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), (number, answer.text)
            assert answer.json()["reason"] == Reason.STORE.code
            assert await whole(store) == before, number
        await writer.change(partial(fill, pages=2**30))
        assert (await http.patch("/clients/c150", json={"enabled": False})).status_code == 200
        assert (await done(await http.get("/audit/verification")))["holds"]
    with sqlite3.connect(tmp_path / "test.db") as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("make_store", ["sqlite"], indirect=True)
async def test_an_unreadable_record_hides_no_earlier_token(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where a page ends with it, nor where it is all of a page."""
    monkeypatch.setattr("affiant.server.admin.routes.tokens.PAGE", 1)
    issued = AuditRecord(at=NOW, trace_id="t", endpoint="token", outcome="accepted", token="wanted", client_id="owner")
    old = AuditRecord(at=NOW - 2 * LONGEST_TOKEN, trace_id="o", endpoint="token", outcome="accepted")
    for record in (old, old, issued, issued, issued):
        await store.ledger.claim(Entry(record))
    last = (await store.audit_log.head()).number
    with sqlite3.connect(tmp_path / "test.db") as other:
        spoilt = "UPDATE audit SET record = CAST('x' AS BLOB) WHERE number > ?"
        other.execute(spoilt, (last - 2,))
    async with asking(store) as http:
        assert (await done(await http.get("/tokens/wanted")))["trace_id"] == "t"
        assert (await http.get("/tokens/never")).status_code == 404


def fill(transaction: Any, pages: int = 1) -> None:
    """Let the file grow no more: it is never smaller than it is."""
    transaction.connection.execute(f"PRAGMA max_page_count = {pages}")


async def whole(store: Store) -> list[Any]:
    return [
        await store.clients.list(),
        await store.apis.list(),
        await store.signing_keys.list(),
        await store.initial_access_tokens.list(),
        await store.revocations.list(NOW),
        await store.version(),
        await store.audit_log.head(),
    ]


async def test_list_that_breaks_off_is_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a stream there is no status any more: the answer is cut, and never ends like a whole one."""
    for number in range(3):
        await store.clients.add(member(f"c{number}"))
    hold: Any = store.tables
    real, pages = hold.rows, iter([True])

    async def failing(step: Any) -> Any:
        if not next(pages, False):
            raise StoreError("the disk is gone")
        return await real(replace(step, limit=2))

    monkeypatch.setattr("affiant.server.admin.lists.PAGE", 2)
    monkeypatch.setattr(hold, "rows", failing)
    sent: list[Any] = []
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/admin/api/clients", "query_string": b""}
    scope |= {"headers": [(b"accept", b"application/jsonl")], "asgi": {"version": "3.0", "spec_version": "2.4"}}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(StoreError):
        await make_gate(store)(scope, receive, send)
    start, *bodies = sent
    assert (start["status"], b"".join(body["body"] for body in bodies).count(b"\n")) == (200, 2)
    assert all(body["more_body"] for body in bodies)
    assert not any(name == b"content-length" for name, _ in start["headers"])


async def test_clients_are_shown_with_their_uses(store: Store) -> None:
    """Of all credentials together, old ones too; to use a client does not change what If-Match compares."""
    for name in ("a", "b"):
        await store.clients.add(member(name))
    async with asking(store) as admin:
        tag = (await admin.get("/clients/a")).headers["etag"]
        await store.key_uses.add([KeyUse("a", "k1", 3, NOW - 90, NOW - 60), KeyUse("a", "k2", 4, NOW - 50, NOW - 5)])
        one = await admin.get("/clients/a")
        listed = (await admin.get("/clients")).json()["items"]
        lines = [json.loads(line) for line in (await admin.get("/clients", headers=LINES)).text.splitlines()]
        changed = await admin.patch("/clients/a", json={"client_name": "A"}, headers={"if-match": tag})
    assert listed == lines
    assert [(found["uses"], found["last_used_at"]) for found in listed] == [(7, NOW - 5), (0, None), (0, None)]
    assert (one.json(), one.headers["etag"]) == (listed[0], tag)
    assert changed.status_code == 200
    assert "uses" not in changed.json()
