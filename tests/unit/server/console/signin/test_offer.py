"""A visitor who signed in with a link is told of passkeys, where one can be made and until one is."""

from dataclasses import replace

import httpx2
import pytest
from tests.admin import ISSUER, MASTER, NOW, make_context

from affiant.server.admin.routes.users import rules
from affiant.server.console import app
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Passkey, UsedChallenge, User

OFFER = "You signed in with a link."


async def _overview(store: MemoryStore, issuer: str = ISSUER) -> str:
    """Sign in at this issuer with a new link, and return the overview."""
    link, token = rules.make_link(MASTER, "eve", now=NOW, seconds=900)
    await store.sign_in_links.add(link)
    context = make_context(store)
    console = app.build(replace(context, issuer=issuer), clock=lambda: float(NOW))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=console), base_url=issuer) as http:
        entered = await http.post("/console/sign-in", data={"token": token}, headers={"origin": issuer})
        assert entered.status_code == 303, entered.text
        http.headers["cookie"] = entered.headers["set-cookie"].partition(";")[0]
        page = await http.get("/console/")
    assert page.status_code == 200, page.text
    assert page.text.count('href="/console/account"') == 1 + page.text.count(OFFER)
    return page.text


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore(audit_key=MASTER.audit)
    await made.users.add(User("eve", "viewer", handle="aGFuZGxl", created_at=NOW))
    return made


async def test_the_first_passkey_is_offered_once(store: MemoryStore) -> None:
    assert OFFER in await _overview(store)
    await store.passkeys.add(
        Passkey("id", "eve", b"", 0, label="laptop", created_at=NOW), UsedChallenge("x", NOW + 10**9)
    )
    assert OFFER not in await _overview(store)


@pytest.mark.parametrize("issuer", ["http://192.0.2.7:8377", "http://as.example"])
async def test_no_offer_where_none_can_be_made(store: MemoryStore, issuer: str) -> None:
    assert OFFER not in await _overview(store, issuer)
