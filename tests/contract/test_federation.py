"""Trusts and rules over the admin API, on every store: their life, roles, records, races, and the end of tokens."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.admin import NOW, asking, member, open_api
from tests.contract.test_admin_api import done
from tests.stores import nodes, records

from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.key_set import KeySet
from affiant.oauth import names, revocations
from affiant.server.admin.roles import Principal, Role
from affiant.storage.ports import Store
from affiant.storage.records import Client
from affiant.testing import ISSUER, Server
from affiant.testing.clock import Clock

CI, API = "https://ci.example", "https://orders.example"
KEY, NEXT = keys.generate("ES256"), keys.generate("ES256")
JWKS, NEXT_JWKS = ({"keys": [key.public().to_jwk()]} for key in (KEY, NEXT))
TRUST = {"name": "ci", "issuer": CI, "jwks": JWKS}
RULE = {"name": "deploy", "trust": "ci", "client_id": "deploy", "conditions": {"repository_id": ["42"]}}
OPERATOR = Principal("op", Role.OPERATOR)
VIEWER = Principal("v", Role.VIEWER)
DEPLOY = Client("deploy", names.FEDERATED_JWT, scope=("r",), created_at=NOW)
Change = tuple[str, str, dict[str, Any] | None]


@pytest.fixture
async def store(make_store: Callable[..., Store]) -> AsyncIterator[Store]:
    """An open store of each make, with the client that rules name."""
    made = make_store()
    await made.open()
    await open_api(made)
    await made.clients.add(DEPLOY)
    yield made
    await made.close()


async def add(http: httpx2.AsyncClient, *, trust: Any = TRUST, rule: Any = RULE) -> None:
    await done(await http.post("/trusts", json=trust), 201)
    await done(await http.post("/rules", json=rule), 201)


async def ended(store: Store) -> list[tuple[str, str]]:
    return sorted((found.kind, found.value) for found in await store.revocations.list(NOW))


async def changes(store: Store) -> list[tuple[str, str, Any, Any]]:
    """Subject, outcome, before and after of each record of a change."""
    return [
        (
            row["subject"],
            row["outcome"],
            *(json.loads(row[name]) if name in row else None for name in ("before", "after")),
        )
        for row in await records(store)
        if "subject" in row
    ]


async def test_life_of_a_trust_and_its_rule(store: Store) -> None:
    async with asking(store) as http:
        await add(http)
        assert (await done(await http.post("/trusts", json=TRUST), 409))["reason"] == "admin.exists"
        shown = await http.get("/trusts/ci")
        assert (await done(shown))["jwks"] == JWKS
        assert (shown.json()["jwks_at"], shown.json()["max_lifetime"], shown.json()["preset"]) == (NOW, 3600, "generic")
        tag = {"If-Match": shown.headers["etag"]}
        await done(await http.patch("/trusts/ci", json={"max_lifetime": 600}, headers=tag))
        assert (await http.patch("/trusts/ci", json={"max_lifetime": 60}, headers=tag)).status_code == 412
        assert (await http.delete("/trusts/ci?with_rules=true", headers=tag)).status_code == 412
        rule = await http.get("/rules/deploy")
        tag = {"If-Match": rule.headers["etag"]}
        await done(await http.patch("/rules/deploy", json={"scope": ["r"]}, headers=tag))
        assert (await http.patch("/rules/deploy", json={"scope": []}, headers=tag)).status_code == 412
        assert (await http.delete("/rules/deploy", headers=tag)).status_code == 412
        await done(await http.delete("/rules/deploy"), 204)
        await done(await http.delete("/trusts/ci"), 204)
        for path in ("/trusts/ci", "/rules/deploy", "/trusts/A%20b", "/rules/" + "a" * 65):
            assert (await http.get(path)).status_code == 404
    assert await ended(store) == [("rule", "ci/deploy"), ("trust", "ci")]
    assert [found[:2] for found in await changes(store)] == [
        ("trust ci", "created"), ("rule deploy", "created"), ("trust ci", "changed"), ("rule deploy", "changed"),
        ("rule deploy", "removed"), ("trust ci", "removed"),
    ]  # fmt: skip
    assert (await changes(store))[2][2:] == ({"max_lifetime": 3600}, {"max_lifetime": 600})
    assert (await changes(store))[3][2:] == ({"scope": []}, {"scope": ["r"]})


async def test_a_change_of_nothing_ends_nothing(store: Store) -> None:
    async with asking(store) as http:
        await add(http)
        await done(await http.patch("/trusts/ci", json={"jwks": JWKS, "enabled": True}))
        await done(await http.patch("/rules/deploy", json={"conditions": RULE["conditions"]}))
    assert await ended(store) == []


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_what_was_disabled_ends_nothing_when_it_is_enabled(store: Store) -> None:
    """A revocation covers the two seconds after it, in which the next token may be issued."""
    async with asking(store) as http:
        await add(http, trust={**TRUST, "enabled": False}, rule={**RULE, "enabled": False})
        for path in ("/rules/deploy", "/trusts/ci"):
            await done(await http.patch(path, json={"enabled": True}))
        assert await ended(store) == []
        await done(await http.patch("/rules/deploy", json={"enabled": False}))
        assert await ended(store) == [("rule", "ci/deploy")]


async def test_a_trust_is_removed_with_its_rules_only_if_asked(store: Store) -> None:
    async with asking(store) as http:
        await add(http)
        refused = await done(await http.delete("/trusts/ci"), 422)
        assert "rules (deploy)" in refused["detail"]
        await done(await http.delete("/trusts/ci?with_rules=true"), 204)
    assert await store.rules.list() == []
    assert await ended(store) == [("rule", "ci/deploy"), ("trust", "ci")]
    assert [found[:2] for found in await changes(store)][2:] == [("trust ci", "removed"), ("rule deploy", "removed")]
    assert (await changes(store))[3][2]["conditions"] == RULE["conditions"]


async def test_the_rules_of_a_client_are_removed_with_it(store: Store) -> None:
    """Otherwise another client that is registered by this name later would be open to the platform."""
    async with asking(store) as http:
        await add(http)
        await store.clients.add(replace(DEPLOY, client_id="other"))
        await done(await http.post("/rules", json={**RULE, "name": "other", "client_id": "other"}), 201)
        await done(await http.delete("/clients/deploy"), 204)
    assert [rule.name for rule in await store.rules.list()] == ["other"]
    assert await ended(store) == [("client", "deploy"), ("rule", "ci/deploy")]
    assert [found[:2] for found in await changes(store)][-2:] == [
        ("client deploy", "removed"),
        ("rule deploy", "removed"),
    ]


async def test_rules_need_their_trust_and_their_client(store: Store) -> None:
    async with asking(store) as http:
        assert "no trust" in (await done(await http.post("/rules", json=RULE), 422))["detail"]
        await done(await http.post("/trusts", json=TRUST), 201)
        unknown = await done(await http.post("/rules", json={**RULE, "client_id": "other"}), 422)
        assert "no client" in unknown["detail"]
        await store.clients.add(replace(DEPLOY, client_id="strict", profile="fapi"))
        fapi = await done(await http.post("/rules", json={**RULE, "client_id": "strict"}), 422)
        assert "fapi profile" in fapi["detail"]
        empty = await done(await http.post("/rules", json={**RULE, "conditions": {}}), 422)
        assert empty["reason"] == "admin.invalid"
    assert await store.rules.list() == []


async def test_a_preset_gives_what_is_left_out(store: Store) -> None:
    async with asking(store) as http:
        wanted = {"name": "gh", "issuer": "https://token.actions.githubusercontent.com"}
        refused = await done(await http.post("/trusts", json=wanted), 422)
        assert "affiant trust add github" in refused["detail"]
        made = await done(await http.post("/trusts", json={**wanted, "preset": "github"}), 201)
        assert "pull_request_target" in made["refuses"]["event_name"]
        assert (await http.post("/trusts", json={**wanted, "preset": "gitea"})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "least"),
    [
        ("POST", "/trusts", {**TRUST, "name": "b", "issuer": "https://b.example"}, Role.OWNER),
        ("PATCH", "/trusts/ci", {"max_lifetime": 60}, Role.OPERATOR),
        ("DELETE", "/trusts/ci?with_rules=true", None, Role.OWNER),
        ("POST", "/rules", {**RULE, "name": "b", "conditions": {"repository_id": ["43"]}}, Role.OPERATOR),
        ("PATCH", "/rules/deploy", {"scope": ["r"]}, Role.OPERATOR),
        ("DELETE", "/rules/deploy", None, Role.OPERATOR),
        ("GET", "/trusts", None, Role.VIEWER),
        ("GET", "/rules?trust=ci", None, Role.VIEWER),
        ("GET", "/trusts/ci/keys", None, Role.OPERATOR),
    ],
)
@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_roles(store: Store, method: str, path: str, body: dict[str, Any] | None, least: Role) -> None:
    async with asking(store) as http:
        await add(http)
    for role in Role:
        async with asking(store, Principal("p", role)) as http:
            answer = await http.request(method, path, json=body)
        assert (answer.status_code == 403) == (not role.includes(least)), (role, answer.text)
        if answer.status_code == 403:
            assert answer.json()["reason"] == Reason.SCOPE_INSUFFICIENT.code
        else:
            break


@pytest.mark.attack(287)
async def test_an_operator_opens_no_client_that_has_a_role(store: Store) -> None:
    """Neither by a rule, nor by keys of its own in a trust whose rule an owner made."""
    await store.clients.add(member("deployer"))
    rule = {**RULE, "name": "admin", "client_id": "deployer"}
    async with asking(store) as owner, asking(store, OPERATOR) as http:
        await add(owner)
        refused = await done(await http.post("/rules", json=rule), 403)
        assert refused["reason"] == "admin.owner_only"
        await done(await http.patch("/trusts/ci", json={"jwks": NEXT_JWKS}))
        await done(await owner.post("/rules", json=rule), 201)
        for answer in (
            await http.patch("/trusts/ci", json={"jwks": JWKS}),
            await http.patch("/trusts/ci", json={"jwks_uri": "https://mallory.example/keys"}),
            await http.patch("/rules/admin", json={"conditions": {"repository_id": ["666"]}}),
            await http.delete("/rules/admin"),
        ):
            assert (await done(answer, 403))["reason"] == "admin.owner_only"
        await done(await http.patch("/rules/deploy", json={"enabled": False}))
        await done(await owner.patch("/trusts/ci", json={"jwks": JWKS}))


@pytest.mark.attack(287)
async def test_an_operator_ends_no_tokens_of_a_client_that_has_a_role(store: Store) -> None:
    await store.clients.add(member("deployer"))
    async with asking(store) as owner, asking(store, OPERATOR) as http:
        await add(owner)
        for kind, value in (("rule", "ci/deploy"), ("trust", "ci")):
            assert (await http.post("/revocations", json={"kind": kind, "value": value})).status_code == 201
        await done(await owner.post("/rules", json={**RULE, "name": "admin", "client_id": "deployer"}), 201)
        for kind, value, status in (("rule", "ci/deploy", 201), ("rule", "ci/admin", 403), ("trust", "ci", 403)):
            answer = await http.post("/revocations", json={"kind": kind, "value": value})
            assert answer.status_code == status, answer.text
    assert await ended(store) == [("rule", "ci/deploy"), ("trust", "ci")]


async def test_lists_have_pages_and_filters(store: Store) -> None:
    async with asking(store) as http:
        await add(http)
        for number in range(4):
            rule = {**RULE, "name": f"r{number}", "conditions": {"repository_id": [str(number)]}}
            await done(await http.post("/rules", json=rule), 201)
        await done(await http.post("/trusts", json={"name": "b", "issuer": "https://b.example"}), 201)
        assert [trust["name"] for trust in (await done(await http.get("/trusts")))["items"]] == ["b", "ci"]
        first = await done(await http.get("/rules?limit=3&trust=ci"))
        rest = await done(await http.get("/rules", params={"limit": 3, "trust": "ci", "cursor": first["next"]}))
        assert [rule["name"] for rule in (*first["items"], *rest["items"])] == ["deploy", "r0", "r1", "r2", "r3"]
        assert (await done(await http.get("/rules?client_id=nobody")))["items"] == []
        lines = (await http.get("/rules?trust=ci", headers={"Accept": "application/jsonl"})).text.splitlines()
        assert len(lines) == 5


@pytest.mark.parametrize("make_store", ["sqlite", "postgres"], indirect=True)
async def test_changes_on_two_nodes_are_judged_one_after_the_other(make_store: Callable[..., Store]) -> None:
    """Only one of two trusts with the same keys is made, and no rule is left without its trust or its client."""
    async with nodes(make_store) as (first, second):
        await open_api(first)
        for number in range(8):
            issuer = f"https://{number}.example"
            async with asking(first) as here, asking(second) as there:
                answers = await asyncio.gather(
                    here.post("/trusts", json={"name": f"a{number}", "issuer": issuer}),
                    there.post("/trusts", json={"name": f"b{number}", "issuer": issuer}),
                )
                assert sorted(answer.status_code for answer in answers) == [201, 422]
                (trust,) = [trust.name for trust in await first.trusts.list() if trust.issuer == issuer]
                await first.clients.add(replace(DEPLOY, client_id=f"c{number}"))
                rule = {**RULE, "name": f"r{number}", "trust": trust, "client_id": f"c{number}"}
                path = f"/trusts/{trust}" if number % 2 else f"/clients/c{number}"
                added, removed = await asyncio.gather(here.post("/rules", json=rule), there.delete(path))
                assert (added.status_code, removed.status_code) in ((201, 422), (422, 204), (201, 204))
            trusts, clients = await first.trusts.list(), await first.clients.list()
            for left in await first.rules.list():
                assert left.trust in {trust.name for trust in trusts}
                assert left.client_id in {client.client_id for client in clients}


CHANGES: dict[str, Change] = {
    "rule changed": ("PATCH", "/rules/deploy", {"scope": ["orders.read"]}),
    "rule disabled": ("PATCH", "/rules/deploy", {"enabled": False}),
    "rule removed": ("DELETE", "/rules/deploy", None),
    "trust changed": ("PATCH", "/trusts/ci", {"jwks": NEXT_JWKS}),
    "trust disabled": ("PATCH", "/trusts/ci", {"enabled": False}),
    "trust removed": ("DELETE", "/trusts/ci?with_rules=true", None),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_ends_the_tokens_that_were_given(make_store: Callable[..., Store], name: str) -> None:
    """At once at introspection and in the feed; those of other rules of the trust live on if a rule changed."""
    method, path, body = CHANGES[name]
    async with Server.in_process(store=make_store(), clock=Clock(NOW)) as server:
        await server.add_api(API, scope=("orders.read", "orders.write"), is_default=True)
        await server.add_client("guard", introspects=(API,))
        for client_id in ("deploy", "other"):
            await server.add_client(client_id, names.FEDERATED_JWT)
        await open_api(server.store)
        async with asking(server.store) as http:
            await add(http)
            other = {**RULE, "name": "other", "client_id": "other", "conditions": {"repository_id": ["43"]}}
            await done(await http.post("/rules", json=other), 201)
            given, of_other = await token(server, "42"), await token(server, "43")
            before = await server.http.get("/revocations")
            assert await is_active(server, given)
            await done(await http.request(method, path, json=body), 200 if body else 204)
        feed = await changed_feed(server, before.headers["etag"])
        assert (await is_active(server, given), feed.revokes(compact.parse(given).claims)) == (False, True)
        lives = name.startswith("rule")
        assert (await is_active(server, of_other), feed.revokes(compact.parse(of_other).claims)) == (lives, not lives)


async def token(server: Server, repository_id: str) -> str:
    now = int(server.clock)
    claims = {"iss": CI, "sub": "job", "aud": ISSUER, "iat": now, "exp": now + 300, "repository_id": repository_id}
    form = {"grant_type": names.JWT_BEARER, "assertion": compact.sign({}, {**claims, "jti": repository_id}, KEY)}
    reply = await server.post(form)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["access_token"])


async def is_active(server: Server, text: str) -> bool:
    form = server.form(server.assertion("guard"), token=text)
    return bool((await server.post(form, path="/introspect")).json()["active"])


async def changed_feed(server: Server, known: str) -> revocations.Feed:
    """The feed of revocations that follows this one."""
    published = KeySet.parse((await server.http.get("/jwks")).json())
    async with asyncio.timeout(10):
        reply = await server.http.get("/revocations", headers={"If-None-Match": known})
        while reply.status_code == 304:
            reply = await server.http.get("/revocations", headers={"If-None-Match": known})
    feed = compact.parse(reply.text)
    return revocations.verify(compact.verify_any(feed, published.keys), issuer=ISSUER, now=server.clock.now)
