"""Trusts: by a tile or from a token, previewed and tried before they are saved; rules; refused tokens."""

import json
from typing import Any

import pytest
from tests.admin import ISSUER, NOW
from tests.platforms import github
from tests.platforms.issuer import Issuer, signed
from tests.unit.server.console.visits import Visit, done, text, visit

from affiant.server.admin.roles import Role
from affiant.server.registry.federation.platforms.table import PLATFORMS
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.memory import MemoryStore

JOB = github.job(audience=ISSUER)
KEYS = json.dumps(Issuer.of(JOB).jwks)
FORM = {"platform": "github", "q-repository-id": "74", "q-branch": "main", "client_id": "deploy", "jwks": KEYS}


async def _saved(ann: Visit) -> str:
    return done(await ann.act("trust.add", **FORM, then="/console/trusts/github"))


async def test_by_a_tile() -> None:
    ann = visit(MemoryStore())
    assert "No trust is registered yet" in text(await ann.get("/trusts"))
    assert (await ann.get("/new/trust")).text.count('class="card tile"') == len(PLATFORMS)
    assert "repository-id" in text(await ann.get("/new/trust?platform=github"))

    page = await ann.post("/new/trust/preview", **FORM, scope="orders.read")
    shown = text(page)
    assert "speaks for deploy when repository_id=74 and ref=refs/heads/main. It gets orders.read." in shown
    assert "affiant trust add github --repository-id 74 --branch main --new-client deploy --scope orders.read" in shown
    assert "permissions: {id-token: write" in shown

    page = await ann.get(await _saved(ann))
    assert "rule deploy: created" in text(page)
    assert "repository_id=74" in text(page)


async def test_from_a_token_that_is_tried_first() -> None:
    ann = visit(MemoryStore())
    token = signed(JOB, NOW)
    page = await ann.post("/new/trust", token=f"Bearer {token}")
    assert 'value="74"' in page.text
    tried = await ann.post("/new/trust/preview", **FORM, token=token)
    assert "would be accepted" in text(tried)
    other = signed(github.job(github.RUNS["tag"], audience="https://other.example"), NOW)
    shown = text(await ann.post("/new/trust/preview", **FORM, token=other))
    assert "ref no refs/heads/main refs/tags/v1.9" in shown
    assert "https://other.example" in shown
    # Nothing was registered, and the token is in no record.
    assert "No trust is registered yet" in text(await ann.get("/trusts"))
    assert token not in (await ann.get("/audit/export")).text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"q-repository-id": ""}, "give repository-id"),
        ({"q-repository-id": "acme"}, "repository_id"),
        ({"client_id": ""}, "enter the client"),
        ({"platform": "nothing"}, "choose a platform"),
        ({"when": "no condition"}, "write CLAIM=VALUE"),
        ({"jwks": "{"}, "jwks must be JSON"),
        ({"q-branch": "main", "q-tag": "v1"}, "give one of"),
    ],
)
async def test_what_cannot_be_registered(form: dict[str, str], said: str) -> None:
    ann = visit(MemoryStore())
    assert said in text(await ann.post("/new/trust/preview", **{**FORM, **form}))
    refused = await ann.act("trust.add", **{**FORM, **form})
    assert said in text(refused)
    assert "No trust is registered yet" in text(await ann.get("/trusts"))


@pytest.mark.parametrize("token", ["", "<b>", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_token(token: str) -> None:
    page = await visit(MemoryStore()).post("/new/trust", token=token)
    assert page.status_code == 422
    assert "<b>" not in page.text


async def test_rules() -> None:
    store = MemoryStore()
    ann = visit(store)
    await _saved(ann)
    page = await ann.get("/rules/deploy")
    etag = page.text.split('name="if_match" value="')[1].split('"')[0].replace("&#34;", '"')
    lines = "repository_id=74\nref=refs/heads/main\nref=refs/heads/next"
    changed = await ann.act("rule.update", name="deploy", conditions=lines, if_match=etag, then="/console/rules/deploy")
    page = await ann.get(done(changed))
    assert "ref=refs/heads/main or refs/heads/next" in text(page)
    assert (await ann.act("rule.update", name="deploy", scope="x", if_match=etag)).status_code == 412
    asked = text(await ann.ask("rule.disable", name="deploy"))
    assert "No token of this rule was issued in the last hour." in asked
    assert "affiant rule disable deploy" in asked
    await ann.act("rule.disable", name="deploy")
    assert "disabled" in text(await ann.get("/trusts/github"))
    assert "affiant trust remove github --with-rules" in text(await ann.ask("trust.remove", name="github"))
    await ann.act("trust.remove", name="github")
    assert (await ann.get("/trusts/github")).status_code == 404


async def test_a_trust_has_its_pages() -> None:
    ann = visit(MemoryStore())
    await _saved(ann)
    for tab in ("", "keys", "test", "settings", "new-rule", "<b>"):
        assert (await ann.get(f"/trusts/github?tab={tab}")).status_code == 200
    judged = text(await ann.post("/trusts/github/tested", token=signed(JOB, NOW)))
    assert "would be accepted" in judged or "client" in judged
    await ann.act("trust.update", name="github", max_lifetime="300", then="/console/trusts/github")
    assert "5 minutes" in text(await ann.get("/trusts/github"))


async def _refused(store: MemoryStore, claims: dict[str, Any]) -> None:
    record = AuditRecord(
        NOW, "refused00000", "token", "refused", reason="trust.unknown", issuer=github.ISSUER,
        claims=json.dumps({"verified": False, "claims": claims}),
    )  # fmt: skip
    await store.ledger.claim(Entry(record))


async def test_a_rule_of_a_refused_token() -> None:
    store = MemoryStore()
    await _refused(store, {"repository_id": "74", "repository": "acme/<b>app", "ref": "refs/heads/main", "sub": "x"})
    ann = visit(store)
    listed = await ann.get("/trusts?tab=refused")
    assert "from=refused00000" in listed.text
    page = await ann.get("/new/trust?from=refused00000")
    assert 'value="74"' in page.text
    assert "anyone can send one with these claims" in text(page)
    assert "<b>app" not in page.text


async def test_roles() -> None:
    store = MemoryStore()
    bob, eve = visit(store, Role.OPERATOR), visit(store, Role.VIEWER)
    assert "needs the role owner" in text(await bob.post("/new/trust/preview", **FORM))
    assert (await eve.act("trust.add", **FORM)).status_code in (403, 422)
    await _saved(visit(store))
    assert (await eve.get("/trusts/github")).status_code == 200
    assert (await eve.act("rule.disable", name="deploy")).status_code == 403
    assert (await bob.act("rule.disable", name="deploy")).status_code == 303
