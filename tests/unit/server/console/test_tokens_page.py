"""Tokens: found by jti or by themselves, revoked by each name, and the initial access tokens."""

import pytest
from tests.admin import NOW
from tests.unit.server.console.visits import Visit, done, text, visit

from affiant.jose import base64url
from affiant.oauth import revocations
from affiant.server.admin.roles import Role
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.memory import MemoryStore

ORDERS = "https://orders.example"


async def _store() -> MemoryStore:
    store = MemoryStore()
    for number, client in enumerate(("billing", "billing", "shop")):
        record = AuditRecord(
            NOW - 60, f"trace{number:07}", "token", "issued", client_id=client, token=f"jti-{number}", resource=ORDERS,
            scope="orders.read", thumbprint="tp", rule="ci/deploy" if client == "shop" else None, task="t1",
        )  # fmt: skip
        await store.ledger.claim(Entry(record))
    return store


SENTENCES = {
    ("jti", "jti-1", ""): "1 token of this jti was issued in the last hour, to billing (1).",
    ("client", "billing", ""): "2 tokens of this client were issued in the last hour, to billing (2).",
    ("key", "tp", "billing"): "2 tokens of this key were issued in the last hour, to billing (2).",
    ("task", "t1", "shop"): "1 token of this task was issued in the last hour, to shop (1).",
    ("api", ORDERS, ""): "3 tokens for this API were issued in the last hour, to billing (2), shop (1).",
    ("rule", "ci/deploy", ""): "1 token of this rule was issued in the last hour, to shop (1).",
    ("trust", "ci", ""): "1 token of this trust was issued in the last hour, to shop (1).",
    ("all", "", ""): "3 tokens in all were issued in the last hour, to billing (2), shop (1).",
    ("client", "nothing", ""): "No token of this client was issued in the last hour.",
}


@pytest.mark.parametrize(("named", "sentence"), SENTENCES.items())
async def test_revocation_says_what_it_ends(named: tuple[str, str, str], sentence: str) -> None:
    kind, value, client_id = named
    ann = visit(await _store(), Role.OPERATOR)
    form = {"kind": kind, "value": value, "client_id": client_id, "then": "/console/tokens"}
    asked = text(await ann.ask("token.revoke", **form))
    assert sentence in asked
    assert f"affiant revoke {'--client ' + client_id + ' ' if client_id else ''}--{kind}" in asked
    page = await ann.get(done(await ann.act("token.revoke", **form)))
    name = revocations.of_key(client_id, value) if kind == "key" else value
    name = revocations.of_task(client_id, value) if kind == "task" else name
    assert base64url.encode(revocations.digest(kind, name or "")) in page.text
    assert "feed.js" in page.text


async def test_only_tokens_issued_until_an_instant() -> None:
    store = await _store()
    record = AuditRecord(NOW - 7, "trace0000009", "token", "issued", client_id="billing", token="late", resource=ORDERS)
    await store.ledger.claim(Entry(record))
    ann = visit(store)
    form = {"kind": "client", "value": "billing", "before": "30s"}
    asked = text(await ann.ask("token.revoke", **form))
    assert "2 tokens of this client were issued in the last hour" in asked
    assert f"affiant revoke --client billing --before {NOW - 30}" in asked
    await ann.act("token.revoke", **form)
    (row,) = await store.revocations.list(NOW)
    assert row.at == NOW - 30
    # A later one wins, and an earlier one takes nothing back.
    await ann.act("token.revoke", kind="client", value="billing")
    await ann.act("token.revoke", **form)
    assert [row.at for row in await store.revocations.list(NOW)] == [NOW]


@pytest.mark.parametrize("form", [{"before": "soon"}, {"kind": "jti", "value": "x", "before": "30s"}])
async def test_instants_that_mean_nothing(form: dict[str, str]) -> None:
    refused = await visit(MemoryStore()).act("token.revoke", **{"kind": "all", **form})
    assert refused.status_code in (400, 422)


async def _revoked(ann: Visit) -> str:
    return text(await ann.post("/tokens/found", token="jti-0"))


async def test_find_a_token() -> None:
    ann = visit(await _store())
    assert "client_id" not in await _revoked(ann)
    await ann.act("token.revoke", kind="jti", value="jti-0")
    assert "revoked by jti jti-0" in await _revoked(ann)
    assert "no access token of this jti" in text(await ann.post("/tokens/found", token="<b>"))
    assert "no jti" in text(await ann.post("/tokens/found", token="a.b.c"))


async def test_a_token_is_in_no_url() -> None:
    assert (await visit(MemoryStore()).get("/tokens/found?token=eyJ")).status_code == 404


@pytest.mark.parametrize("form", [{"kind": "client"}, {"kind": "key", "value": "tp"}, {"kind": "no", "value": "x"}])
async def test_bad_revocations(form: dict[str, str]) -> None:
    refused = await visit(MemoryStore()).act("token.revoke", **form)
    assert refused.status_code in (400, 422)
    assert "Not done" in text(refused)


async def test_viewers_revoke_nothing() -> None:
    assert (await visit(MemoryStore(), Role.VIEWER).act("token.revoke", kind="all")).status_code == 403


async def test_initial_access_tokens() -> None:
    ann = visit(MemoryStore())
    made = await ann.act("initial-token.new", scope="orders.read", uses="3", days="2")
    secret = made.text.split('id="secret">')[1].split("<")[0]
    assert made.headers["cache-control"] == "no-store"
    listed = await ann.get("/tokens?list=initial")
    assert secret not in listed.text
    token_id = listed.text.split('name="id" value="')[1].split('"')[0]
    await ann.act("initial-token.revoke", id=token_id)
    assert "There is none" in text(await ann.get("/tokens?list=initial"))


@pytest.mark.parametrize("listed", ["revocations", "refresh", "initial", "<b>"])
async def test_lists(listed: str) -> None:
    ann = visit(await _store())
    assert (await ann.get(f"/tokens?list={listed}")).status_code == 200
    assert (await ann.get(f"/tokens?list={listed}&format=csv")).status_code == 200
