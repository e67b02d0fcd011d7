"""The pages of clients: who may do what, hostile names, stale forms, and what was typed."""

import csv
import io
import json
import re
from typing import Any

import pytest
from tests.admin import ISSUER, MASTER, NOW, open_api
from tests.unit.server.console.visits import Visit, done, text, visit

from affiant.jose import keys
from affiant.server.admin.roles import Role
from affiant.server.keys import signing_keys
from affiant.server.keys.vault import Vault
from affiant.server.registry import clients
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Api, Client

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"
TABS = ("overview", "credentials", "permissions", "use", "events", "settings")


@pytest.fixture
async def store() -> Store:
    found = MemoryStore()
    await open_api(found)
    await found.apis.add(Api("https://orders.example", "orders", ("orders.read", "orders.write"), True, NOW))
    return found


async def add(store: Store, name: str = "billing", **members: Any) -> str:
    """Register a client with a key; return the key's thumbprint."""
    key = keys.generate("ES256").public()
    built = clients.build(Client(name, "private_key_jwt", **members), master_key=MASTER, now=NOW, keys=(key,))
    await store.clients.add(built.client)
    return key.thumbprint


def if_match(page: str) -> str:
    (tag, *_) = re.findall(r'name="if_match" value="&#34;([^&]*)&#34;"', page)
    return f'"{tag}"'


def public_key() -> str:
    return json.dumps(keys.generate("ES256").public().to_jwk())


async def test_empty_list_teaches() -> None:
    found = MemoryStore()
    await open_api(found)
    page = await visit(found).get("/clients")
    assert "A client is a service that asks for tokens" in text(page)
    assert page.text.count('href="/console/new/client?by=') == 3


@pytest.mark.parametrize("way", ["tab", "paste"])
async def test_client_is_registered(store: Store, way: str) -> None:
    """The form of a key of the tab is the same: its script fills in the public half."""
    ann = visit(store)
    typed = {"client_id": "billing", "scope": "orders.read", "resources": "https://orders.example", "owner": "ann"}
    page = await ann.act("client.register", by=way, public_key=public_key(), **typed)
    assert page.status_code == 200, text(page)
    made = await store.clients.find("billing")
    assert made is not None
    assert (made.scope, made.resources, made.owner) == (("orders.read",), ("https://orders.example",), "ann")
    members = json.loads(re.findall(r'data-members="([^"]*)"', page.text)[0].replace("&#34;", '"'))
    assert members == {
        "affiant": 1,
        "issuer": ISSUER,
        "client_id": "billing",
        "auth_method": "private_key_jwt",
        "scope": "orders.read",
        "resource": "https://orders.example",
    }


async def test_secret_is_shown_once(store: Store) -> None:
    ann = visit(store)
    page = await ann.act("client.register", by="secret", secret_method="client_secret_basic", client_id="legacy")
    (secret,) = re.findall(r"<code data-copy>([^<]{40,})</code>", page.text)
    assert page.headers["cache-control"] == "no-store"
    for tab in TABS:
        assert secret not in (await ann.get(f"/clients/legacy?tab={tab}")).text
    rotated = await ann.act("client.secret.new", client_id="legacy")
    (following,) = re.findall(r"<code data-copy>([^<]{40,})</code>", rotated.text)
    assert following != secret
    assert "both secrets are accepted" in text(await ann.get("/clients/legacy?tab=credentials"))


async def test_refused_form_keeps_what_was_typed(store: Store) -> None:
    await add(store)
    typed = {"client_id": "billing", "by": "paste", "public_key": public_key(), "owner": HOSTILE}
    page = await visit(store).act("client.register", **typed)
    assert page.status_code == 409
    assert "admin.exists" in page.text
    assert 'value="billing"' in page.text
    assert HOSTILE not in page.text
    assert "alert(1)&lt;/script&gt;" in page.text


@pytest.mark.parametrize("private", ["-----BEGIN PRIVATE KEY-----\nAAAA", "jwk", "set"])
async def test_private_key_is_refused_and_not_shown_again(store: Store, private: str) -> None:
    jwk = keys.generate("ES256").to_jwk()
    given = {"jwk": json.dumps(jwk), "set": json.dumps({"keys": [jwk]})}.get(private, private)
    page = await visit(store).act("client.register", client_id="billing", by="paste", public_key=given)
    assert page.status_code == 422
    assert "private" in text(page)
    assert "AAAA" not in page.text
    assert jwk["d"] not in page.text


@pytest.mark.parametrize("name", ["a/b", "urn:app:billing", "spiffe://example/billing", "new", "-h", "a&b=c,d!e?f+g"])
@pytest.mark.parametrize("tab", TABS)
async def test_any_name_has_its_pages(store: Store, name: str, tab: str) -> None:
    from urllib.parse import quote

    await add(store, name)
    page = await visit(store).get(f"/clients/{quote(name, safe='')}?tab={tab}")
    assert page.status_code == 200
    assert name in text(page)


@pytest.mark.parametrize("path", ["/clients", *(f"/clients/billing?tab={tab}" for tab in TABS)])
async def test_hostile_values_stay_text(store: Store, path: str) -> None:
    scope = "<img/src=x>$(id)`id`'"
    await add(store, client_name=HOSTILE, owner=HOSTILE, contact=HOSTILE, scope=(scope,))
    page = await visit(store).get(path)
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "49" not in page.text.partition("alert(1)")[2][:60]


async def test_list_and_export_have_what_fits(store: Store) -> None:
    for name in ("billing", "mailer", "=cmd"):
        await add(store, name, owner="ann" if name != "mailer" else "bob")
    ann = visit(store)
    page = await ann.get("/clients?q=owner:ann")
    assert "mailer" not in page.text
    _, *rows = csv.reader(io.StringIO((await ann.get("/clients?q=owner:ann&format=csv")).text))
    assert [row[0] for row in rows] == ["'=cmd", "billing"]
    lines = (await ann.get("/clients?q=owner:bob&format=jsonl")).text.splitlines()
    assert [json.loads(line)["client_id"] for line in lines] == ["mailer"]
    assert "write a number" in text(await ann.get("/clients?q=unused:soon"))


async def test_long_list_has_pages(store: Store) -> None:
    for number in range(120):
        await add(store, f"c{number:03}", owner="ann" if number == 119 else None)
    ann = visit(store)
    (following,) = re.findall(r'href="/console(/clients\?cursor=[^"]*)" rel="next"', (await ann.get("/clients")).text)
    assert "c050" in text(await ann.get(following))
    page = await ann.get("/clients?q=owner:ann")
    while "c119" not in text(page):  # a search stops when its time is over, and its link goes on from there
        (following,) = re.findall(r'href="/console(/clients\?q=owner[^"]*)" rel="next"', page.text)
        page = await ann.get(following.replace("&amp;", "&"))


async def test_ticked_clients_are_changed_one_by_one(store: Store) -> None:
    for name in ("billing", "mailer"):
        await add(store, name, labels=("old",))
    ann = visit(store)
    asked = await ann.ask("clients.change", client_id="billing mailer gone", do="disable")
    assert "3 clients get no more tokens" in text(asked)
    assert "affiant client disable mailer" in text(asked)
    page = text(await ann.act("clients.change", client_id="billing mailer gone", do="disable"))
    assert "Done: 2" in page
    assert "Refused: 1" in page
    await ann.act("clients.change", client_id="billing", do="label", label="env=prod")
    await ann.act("clients.change", client_id="billing", do="unlabel", label="old")
    found = await store.clients.find("billing")
    assert found is not None
    assert (found.enabled, found.labels) == (False, ("env=prod",))


async def test_rotation_is_guarded(store: Store) -> None:
    old = await add(store)
    ann = visit(store)
    await ann.act("client.key.add", client_id="billing", public_key=public_key())
    page = text(await ann.get("/clients/billing?tab=credentials"))
    assert "both keys are accepted" in page
    assert "0 uses of the old key in 24 hours" in page
    asked = text(await ann.ask("client.key.complete", client_id="billing", kid=old))
    assert "billing used the old key 0 times in the last 60 minutes" in asked
    assert "Not safe yet: its successor was not used yet" in asked
    done(await ann.act("client.key.complete", client_id="billing", kid=old))
    assert "1 revoked key" in text(await ann.get("/clients/billing?tab=credentials"))


async def test_stale_page_ends_no_other_key(store: Store) -> None:
    """A button of a page from before a rotation would complete another one."""
    await add(store)
    ann = visit(store)
    await ann.act("client.register", by="secret", secret_method="client_secret_basic", client_id="legacy")
    await ann.act("client.secret.new", client_id="legacy")
    stale = if_match((await ann.get("/clients/legacy?tab=credentials")).text)
    await ann.act("client.secret.complete", client_id="legacy")
    await ann.act("client.secret.new", client_id="legacy")
    page = await ann.act("client.secret.complete", client_id="legacy", if_match=stale)
    assert page.status_code == 412
    assert "both secrets are accepted" in text(await ann.get("/clients/legacy?tab=credentials"))


async def test_stale_settings_overwrite_nothing(store: Store) -> None:
    await add(store)
    ann = visit(store)
    stale = if_match((await ann.get("/clients/billing?tab=settings")).text)
    done(await ann.act("client.change", client_id="billing", owner="bob", if_match=stale))
    page = await ann.act("client.change", client_id="billing", owner="eve", if_match=stale)
    assert page.status_code == 412
    assert 'value="eve"' in page.text
    assert if_match(page.text) == stale
    found = await store.clients.find("billing")
    assert found is not None
    assert found.owner == "bob"


async def test_rules_are_observed_and_enforced(store: Store) -> None:
    await add(store)
    ann = visit(store)
    await ann.act("client.change", client_id="billing", observe="audience jti")
    await ann.act("client.change", client_id="billing", observe="jti")
    found = await store.clients.find("billing")
    assert found is not None
    assert found.observe == ("jti",)


async def test_undo_enforces_again(store: Store) -> None:
    await add(store)
    ann = visit(store)
    where = done(await ann.act("client.change", client_id="billing", observe="audience"))
    await ann.act("undo", trace_id=where.rpartition("done=")[2])
    found = await store.clients.find("billing")
    assert found is not None
    assert found.observe == ()


async def test_permissions_are_saved(store: Store) -> None:
    await add(store)
    ann = visit(store)
    await ann.act(
        "client.grant", client_id="billing", scope="orders.read orders.read", resources="https://orders.example"
    )
    page = (await ann.get("/clients/billing?tab=permissions")).text
    assert 'value="orders.read" checked' in page
    assert 'value="orders.write" checked' not in page


async def test_token_is_previewed(store: Store) -> None:
    await add(store, scope=("orders.read", "gone"), resources=("https://orders.example",), access_token_lifetime=120)
    assert "server.signer_unavailable" in text(await visit(store).get("/clients/billing?tab=permissions"))
    await signing_keys.ensure(store, Vault(MASTER), now=NOW)
    page = text(await visit(store).get("/clients/billing?tab=permissions"))
    assert '"scope": "orders.read"' in page
    assert '"aud": "https://orders.example"' in page
    assert "2 minutes (120 s)" in page
    refused = text(await visit(store).get("/clients/billing?tab=permissions&for=https://none.example"))
    assert "It would get no token" in refused
    assert "resource.not_allowed" in refused


WRITES = [
    ("client.disable", {}, Role.OPERATOR),
    ("client.enable", {}, Role.OPERATOR),
    ("client.change", {"owner": "bob"}, Role.OPERATOR),
    ("client.grant", {"scope": "orders.read"}, Role.OPERATOR),
    ("client.key.add", {"public_key": "KEY"}, Role.OPERATOR),
    ("client.key.revoke", {"kid": "KID"}, Role.OPERATOR),
    ("client.register", {"client_id": "other", "by": "paste", "public_key": "KEY"}, Role.OWNER),
    ("client.remove", {}, Role.OWNER),
]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("action", "fields", "needs"), WRITES, ids=[action for action, _, _ in WRITES])
async def test_roles(store: Store, action: str, fields: dict[str, str], needs: Role, role: Role) -> None:
    kid = await add(store)
    filled = {name: {"KEY": public_key(), "KID": kid}.get(value, value) for name, value in fields.items()}
    page = await visit(store, role).act(action, **{"client_id": "billing", **filled})
    assert (page.status_code == 403) == (not role.includes(needs))
    assert page.status_code in (200, 303, 403)


@pytest.mark.parametrize("role", Role)
async def test_every_role_reads_every_tab(store: Store, role: Role) -> None:
    await add(store)
    ann: Visit = visit(store, role)
    for path in ("/clients", "/new/client", *(f"/clients/billing?tab={tab}" for tab in TABS)):
        assert (await ann.get(path)).status_code == 200


async def test_changes_are_listed(store: Store) -> None:
    await add(store)
    ann = visit(store)
    await ann.act("client.change", client_id="billing", owner="bob")
    page = text(await ann.get("/clients/billing?tab=events&of=changes"))
    assert "user:ann" in page
    assert "changed" in page


async def test_key_of_the_tab_is_a_command_that_makes_one(store: Store) -> None:
    page = await visit(store).ask("client.register", by="tab", client_id="billing", scope="orders.read", as_command="1")
    assert "affiant client new --scope orders.read --auth private_key_jwt billing" in text(page)


async def test_unknown_client(store: Store) -> None:
    await add(store)
    page = await visit(store).get("/clients/biling")
    assert page.status_code == 404
    assert "did you mean billing" in text(page)
