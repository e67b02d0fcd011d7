"""The audit log: rows with what changed, filters, Undo, files, and the chain."""

import json

from tests.admin import ISSUER, MASTER, NOW
from tests.unit.server.console.visits import done, text, visit

from affiant.server.admin.roles import Role
from affiant.server.console.pages import audit
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api

HOSTILE = '=cmd|"<script>alert(1)</script>'


async def _changed() -> MemoryStore:
    """A store with one change by ann, and a refused request of a hostile client."""
    store = MemoryStore(audit_key=MASTER.audit)
    await store.apis.add(Api("https://orders.example", "orders", ("orders.read",), is_default=True, created_at=NOW))
    await visit(store).act("api.update", identifier="https://orders.example", name="Orders", scopes="orders.read")
    record = AuditRecord(NOW, "hostile00000", "token", "refused", reason="client.unknown", client_claimed=HOSTILE)
    await store.ledger.claim(Entry(record))
    return store


async def test_rows_say_what_changed() -> None:
    page = await visit(await _changed()).get("/audit")
    assert "<del>orders</del> <ins>Orders</ins>" in page.text
    assert "<script>alert" not in page.text
    assert HOSTILE in text(page).replace("&quot;", '"')


async def test_filters_are_in_the_url() -> None:
    ann = visit(await _changed())
    assert "orders.example" not in text(await ann.get("/audit?outcome=refused"))
    assert "No record matches" in text(await ann.get("/audit?outcome=refused&until=1h"))
    assert 'value="refused"' in (await ann.get("/audit?outcome=refused")).text


async def test_undo() -> None:
    ann = visit(await _changed())
    found = json.loads((await ann.get("/audit?outcome=changed&format=jsonl")).text)
    page = await ann.get(done(await ann.act("undo", trace_id=found["record"]["trace_id"], then="/console/audit")))
    assert "<del>Orders</del> <ins>orders</ins>" in page.text
    again = await ann.act("undo", trace_id=found["record"]["trace_id"])
    assert "was changed again since then" in text(again)


async def test_files_have_what_is_filtered() -> None:
    ann = visit(await _changed())
    answer = await ann.get("/audit?outcome=refused&format=csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    heads, row = answer.text.splitlines()
    assert heads.startswith("number,at,trace_id,endpoint,outcome,reason")
    assert "'=cmd" in row  # no formula for a spreadsheet
    assert len((await ann.get("/audit/export")).text.splitlines()) == 2


async def test_the_chain() -> None:
    store = await _changed()
    ann = visit(store, Role.VIEWER)
    head = (await store.audit_log.head()).link.hex()
    assert "The chain is intact" in text(await ann.post("/audit/verification"))
    assert "no record was cut off" in text(await ann.post("/audit/verification", expect=f"2:{head}"))
    cut = text(await ann.post("/audit/verification", expect=f"3:{head}"))
    assert "The chain is broken" in cut


async def test_a_bad_head_is_a_refusal_and_a_get_verifies_nothing() -> None:
    ann = visit(await _changed())
    assert (await ann.post("/audit/verification", expect="<b>")).status_code == 400
    assert (await ann.get("/audit/verification")).status_code == 404
    stranger = await ann.http.post(
        f"{ISSUER}/console/audit/verification", data={"csrf": "x"}, headers={"origin": ISSUER}
    )
    assert stranger.status_code == 403


def test_changes_of_a_damaged_record() -> None:
    assert audit.changes({"before": "{", "after": "[]"}) == []
    assert audit.changes({"before": None, "after": '{"a": [1], "b": null}'}) == [("a", None, "[1]"), ("b", None, None)]
