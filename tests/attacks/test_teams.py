"""T15: whoever is limited to teams does nothing outside of them, by no operation that there is."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from tests.admin import ADMIN, MASTER, NOW, asking, member, open_api
from tests.stores import REFRESH

from affiant.jose import keys
from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.roles import Principal, Role
from affiant.server.admin.routes.operation import Operation, Reach
from affiant.server.registry import clients
from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.history.counts import HOUR, ISSUED, REFUSED, SERVER, Count
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client, InitialAccessToken, KeyUse, Rule, Team, Trust, User

MINE, OTHER = "payments", "zzz"  # names of what the other team owns begin with zzz
KEY = keys.generate("ES256").public()
OPERATOR, VIEWER = (Principal("op", role, teams=frozenset({MINE})) for role in (Role.OPERATOR, Role.VIEWER))
UNLIMITED = Principal("op", Role.OPERATOR)


def build(name: str, team: str | None, **more: Any) -> Client:
    wanted = Client(name, "private_key_jwt", team=team, scope=("read",), resources=(f"https://{team}.example",), **more)
    return clients.build(wanted, master_key=MASTER, now=NOW, keys=(KEY,)).client


async def fill(store: MemoryStore) -> None:
    """The same for both teams: a client, an API, a trust, a rule, tokens, counts and records of each."""
    await open_api(store)
    await store.users.add(User("zzz-user", "viewer", handle="h"))
    for team in (MINE, OTHER):
        await store.teams.add(Team(team, scope=("shared",), resources=("https://shared.example",), created_at=NOW))
        await store.apis.add(Api(f"https://{team}.example", team, ("read",), False, NOW, team=team))
        await store.clients.add(build(f"{team}-client", team))
        await store.trusts.add(Trust(f"{team}-trust", f"https://{team}-issuer.example", team=team, created_at=NOW))
        await store.rules.add(Rule(f"{team}-rule", f"{team}-trust", f"{team}-client", created_at=NOW))
        token = InitialAccessToken(f"{team}-invitation", team.encode(), (), (), NOW, NOW + 60, 1, team=team)
        await store.initial_access_tokens.add(token)
        await store.key_uses.add([KeyUse(f"{team}-client", KEY.thumbprint, 7, NOW, NOW)])
        await store.counts.add(
            [Count(HOUR, NOW // 3600 * 3600, name, kind, f"{team}-label", 5)
             for name in (f"{team}-client", SERVER) for kind in (ISSUED, REFUSED)]
        )  # fmt: skip
        refresh = replace(REFRESH, digest=team.encode(), family=f"{team}-family", client_id=f"{team}-client")
        issued = AuditRecord(
            NOW, f"{team}-trace", "token", "issued", client_id=f"{team}-client", token=f"{team}-jti", scope="read",
            resource=f"https://{team}.example",
        )  # fmt: skip
        named = [Revocation(kind, f"{team}-{kind}", NOW, NOW + 60) for kind in ("client", "trust", "jti", "family")] + [
            Revocation("rule", f"{team}-trust/{team}-rule", NOW, NOW + 60)
        ]
        await store.ledger.claim(Entry(issued, new_refresh=refresh, revocations=tuple(named)))
        changed = AuditRecord(NOW, f"{team}-change", "admin", "changed", by="owner", subject=f"client {team}-client")
        await store.ledger.claim(Entry(changed))
        refused = AuditRecord(
            NOW, f"{team}-refused", "token", "refused", reason="x", issuer=f"https://{team}-issuer.example"
        )
        await store.ledger.claim(Entry(refused))


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await fill(made)
    return made


NOUNS = {"clients": "client", "credentials": "client", "trusts": "trust", "rules": "rule"}
BODIES: dict[str, Any] = {
    "PATCH /clients/{client_id}": {"enabled": False},
    "POST /clients/{client_id}/keys": {"jwk": keys.generate("ES256").public().to_jwk()},
    "POST /clients/{client_id}/keys/complete": {"kid": KEY.thumbprint},
    "POST /clients/{client_id}/keys/cancel": {"kid": KEY.thumbprint},
    "POST /clients/{client_id}/keys/revoke": {"kid": KEY.thumbprint},
    "POST /clients/{client_id}/secrets": {},
    "POST /clients/{client_id}/secrets/revoke": {"id": "x"},
    "PATCH /trusts/{name}": {"max_lifetime": 60},
    "PATCH /rules/{name}": {"scope": ["read"]},
    "PATCH /teams/{name}": {"scope": ["read"]},
    "PATCH /apis/{identifier:path}": {"name": "renamed"},
    "PATCH /users/{name}": {"role": "owner"},
    "POST /users/{name}/links": {},
    "PATCH /users/{name}/passkeys/{id}": {"label": "x"},
    "POST /signing-keys": {},
    "POST /users": {"name": "new"},
}
# Without a name in the path: what names the records of a team in the body or the query.
BY_TEAM: dict[str, Any] = {
    "POST /clients": lambda team: {
        "client_id": "new", "token_endpoint_auth_method": "client_secret_basic", "team": team, "scope": ["read"],
        "resources": [f"https://{team}.example"],
    },
    "POST /rules": lambda team: {
        "name": "new", "trust": f"{team}-trust", "client_id": f"{team}-client", "conditions": {"sub": ["x"]}
    },
    "POST /initial-access-tokens": lambda team: {
        "team": team, "scope": ["read"], "resources": [f"https://{team}.example"]
    },
    "POST /revocations": lambda team: {"kind": "client", "value": f"{team}-client"},
    "POST /explain": lambda team: {"request": f"client_id={team}-client&client_secret=x&grant_type=client_credentials"},
    "POST /explain/planned": lambda team: {
        "token": "a.b.c", "rule": {"name": "new", "trust": f"{team}-trust", "client_id": f"{team}-client"}
    },
    "POST /dry-run": lambda team: {
        "changes": [{"action": "update", "kind": "client", "name": f"{team}-client", "members": {"enabled": False}}]
    },
    "POST /apis": lambda team: {"identifier": "https://new.example", "name": "new", "team": team},
    "POST /trusts": lambda team: {"name": "new", "issuer": "https://new.example", "team": team},
    "POST /teams": lambda _: {"name": "new"},
}  # fmt: skip
QUERIES = {"GET /search": lambda team: f"q={team}-client", "GET /counts/clients": lambda team: f"named={team}-client"}


def named(route: Operation) -> str:
    return f"{route.method} {route.path}"


def path_of(route: Operation, team: str) -> str:
    values = {
        "{client_id}": f"{team}-client",
        "{identifier:path}": quote(f"https://{team}.example", safe=""),
        "{name}": team if route.noun == "teams" else f"{team}-{NOUNS.get(route.noun, 'user')}",
        "{jti}": f"{team}-jti",
        "{trace_id}": f"{team}-trace",
        "{kid}": "x",
        "{id}": f"{team}-invitation",
    }
    path = route.path
    for place, value in values.items():
        path = path.replace(place, value)
    query = QUERIES.get(named(route))
    return path + (f"?{query(team)}" if query else "")


async def ask(store: MemoryStore, who: Principal, route: Operation, team: str) -> httpx2.Response:
    body = BY_TEAM[named(route)](team) if named(route) in BY_TEAM else BODIES.get(named(route))
    async with asking(store, who) as http:
        return await http.request(route.method, path_of(route, team), json=body)


async def state(store: MemoryStore) -> list[Any]:
    """All that an operation could change for the other team."""
    return [
        await store.clients.list(), await store.apis.list(), await store.trusts.list(), await store.rules.list(),
        await store.teams.list(), await store.initial_access_tokens.list(), await store.revocations.list(NOW),
        await store.refresh_tokens.list(), await store.signing_keys.list(), await store.users.list(),
    ]  # fmt: skip


@pytest.mark.attack(287)
@pytest.mark.parametrize("who", [OPERATOR, VIEWER], ids=["operator", "viewer"])
@pytest.mark.parametrize("route", OPERATIONS, ids=named)
async def test_nothing_of_another_team(store: MemoryStore, route: Operation, who: Principal) -> None:
    """As if it did not exist, or refused for the role or the whole server; nothing changes, and nothing is shown."""
    before = await state(store)
    reply = await ask(store, who, route, OTHER)
    assert await state(store) == before
    if route.reach is Reach.SERVER:
        assert (reply.status_code, reply.json()["reason"]) in ((403, "admin.team"), (403, "token.insufficient_scope"))
    if named(route) == "POST /dry-run":
        assert [one["reason"] for one in reply.json()["refused"]] == ["admin.not_found"]
        return
    is_named = OTHER in path_of(route, OTHER) or named(route) in BY_TEAM
    if is_named and not (named(route) in QUERIES or named(route) == "POST /explain"):
        assert reply.status_code in (403, 404), reply.text
    if named(route) == "POST /explain":  # its answer repeats the name that was asked for
        assert reply.json()["reason"] == "client.unknown"
    elif reply.status_code < 300:
        assert OTHER not in reply.text, reply.text


@pytest.mark.parametrize("route", [one for one in OPERATIONS if one.reach is Reach.TEAMS], ids=named)
async def test_own_team_is_served(store: MemoryStore, route: Operation) -> None:
    """The same questions about the own team: none is refused for its limit. So the test above is one of the limit."""
    reply = await ask(store, OPERATOR, route, MINE)
    if route.role is Role.OWNER and route.team_role is None:
        assert reply.json()["reason"] == "token.insufficient_scope"
        return
    if reply.status_code == 503:  # it would sign, and this server has no signing key
        assert (named(route), reply.json()["reason"]) == (
            "GET /clients/{client_id}/token-preview",
            "server.signer_unavailable",
        )
        return
    assert reply.status_code < 500, reply.text
    if named(route) == "POST /clients/{client_id}/secrets/revoke":
        assert "payments-client has no secret x" in reply.json()["detail"]
        return
    reason = reply.json()["reason"] if reply.status_code >= 400 else None
    assert reason not in ("admin.team", "admin.not_found", "token.insufficient_scope"), reply.text
    if route.is_list and named(route) != "GET /revocations":
        assert MINE in reply.text, reply.text


@pytest.mark.attack(287)
async def test_operator_of_a_team_disables_no_other_client(store: MemoryStore) -> None:
    """What an operator without teams may do, and could do to every team before there were limits."""
    for who, status in ((OPERATOR, 404), (UNLIMITED, 200)):
        async with asking(store, who) as http:
            reply = await http.patch("/clients/zzz-client", json={"enabled": False})
        assert reply.status_code == status, reply.text
    found = await store.clients.find("zzz-client")
    assert found is not None
    assert not found.enabled


DEFAULT = Api("https://default.example", "default", ("read", "write"), True, NOW)
ESCALATIONS: dict[str, dict[str, Any]] = {
    "scope of another team's API": {"resources": ["https://payments.example", "https://zzz.example"]},
    "its scope at the default API": {"resources": []},
    "scope of no API": {"scope": ["read", "unheard"]},
    "scope that the team does not hold there": {"resources": ["https://shared.example"], "scope": ["other"]},
    "API that does not exist": {"resources": ["https://payments.example", "https://later.example"]},
    "another team": {"team": OTHER},
    "no team": {"team": ""},
    "introspects": {"introspects": ["https://zzz.example"]},
    "introspects an API that it only grants": {"introspects": ["https://shared.example"]},
    "delegates to": {"delegates_to": ["zzz-client"]},
    "types": {"authorization_details_types": ["payment"]},
    "role": {"scope": ["admin.viewer"], "resources": [ADMIN]},
    "administers": {"administers": [MINE]},
}


@pytest.mark.attack(287)
@pytest.mark.parametrize("wanted", ESCALATIONS.values(), ids=ESCALATIONS)
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "changed"])
async def test_team_grants_only_what_it_holds(store: MemoryStore, wanted: dict[str, Any], *, is_new: bool) -> None:
    await store.apis.add(DEFAULT)
    await store.apis.add(Api("https://shared.example", "shared", ("shared", "other"), False, NOW, team="platform"))
    before = await store.clients.list()
    whole = {"team": MINE, "scope": ["read"], "resources": ["https://payments.example"], **wanted}
    whole = {name: value for name, value in whole.items() if value != ""}
    async with asking(store, OPERATOR) as http:
        if is_new:
            sent = {"client_id": "new", "token_endpoint_auth_method": "client_secret_basic", **whole}
            change = {"action": "create", "kind": "client", "name": "new", "members": sent}
            reply = await http.post("/clients", json=sent)
        else:
            change = {"action": "update", "kind": "client", "name": "payments-client", "members": wanted}
            reply = await http.patch("/clients/payments-client", json=wanted)
        judged = (await http.post("/dry-run", json={"changes": [change]})).json()
    assert reply.status_code in (403, 404), reply.text
    assert judged["refused"] or judged["needs"] == "owner", judged
    assert await store.clients.list() == before


@pytest.mark.attack(287)
async def test_team_grants_what_it_holds(store: MemoryStore) -> None:
    await store.apis.add(Api("https://shared.example", "shared", ("shared", "other"), False, NOW, team="platform"))
    wanted = {"scope": ["read", "shared"], "resources": ["https://payments.example", "https://shared.example"]}
    async with asking(store, OPERATOR) as http:
        assert (await http.patch("/clients/payments-client", json=wanted)).status_code == 200
        refused = await http.patch("/clients/payments-client", json={"scope": ["read", "shared", "other"]})
    assert (refused.status_code, refused.json()["reason"]) == (403, "admin.team")
    assert "the scope other of https://shared.example" in refused.json()["detail"]


@pytest.mark.attack(287)
async def test_initial_access_token_is_within_the_team(store: MemoryStore) -> None:
    good = {"team": MINE, "scope": ["read"], "resources": ["https://payments.example"]}
    async with asking(store, OPERATOR) as http:
        for wrong in ({"team": OTHER}, {"scope": ["x"]}, {"resources": ["https://zzz.example"]}):
            assert (await http.post("/initial-access-tokens", json={**good, **wrong})).status_code == 403, wrong
        assert (await http.post("/initial-access-tokens", json=good)).status_code == 201


@pytest.mark.attack(287)
async def test_rule_and_trust_speak_for_the_team_alone(store: MemoryStore) -> None:
    """Not a rule on another team's trust, nor one for its client; nor new keys of a trust that speaks for another."""
    base = {"name": "new", "conditions": {"sub": ["x"]}}
    async with asking(store, OPERATOR) as http:
        for trust, client_id in (("zzz-trust", "payments-client"), ("payments-trust", "zzz-client")):
            reply = await http.post("/rules", json={**base, "trust": trust, "client_id": client_id})
            assert reply.status_code == 404, reply.text
        await store.rules.add(Rule("shared-rule", "payments-trust", "zzz-client"))
        reply = await http.patch("/trusts/payments-trust", json={"jwks_uri": "https://mine.example/jwks"})
        assert (reply.status_code, reply.json()["reason"]) == (403, "admin.team"), reply.text
        assert (await http.patch("/trusts/payments-trust", json={"enabled": False})).status_code == 200


@pytest.mark.attack(287)
async def test_client_that_moves_meanwhile_is_judged_in_the_commit(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: Any = store.tables
    get = tables.get

    async def overtaken(step: Any) -> Any:
        found = await get(step)
        monkeypatch.setattr(tables, "get", get)
        await store.clients.update("payments-client", lambda client: replace(client, team=OTHER))
        return found

    monkeypatch.setattr(tables, "get", overtaken)
    async with asking(store, OPERATOR) as http:
        reply = await http.patch("/clients/payments-client", json={"enabled": False})
    assert reply.status_code == 404, reply.text
    found = await store.clients.find("payments-client")
    assert found is not None
    assert found.enabled


@pytest.mark.attack(287)
async def test_name_of_a_removed_client_shows_none_of_its_records(store: MemoryStore) -> None:
    await store.clients.remove("zzz-client")
    await store.clients.add(replace(build("zzz-client", MINE), created_at=NOW + 1))
    async with asking(store, OPERATOR) as http:
        assert (await http.get("/audit/zzz-trace")).status_code == 404
        assert '"trace_id":"zzz-trace"' not in (await http.get("/audit")).text
        assert (await http.get("/audit/payments-trace")).status_code == 200


@pytest.mark.attack(287)
async def test_owner_has_no_limit(store: MemoryStore) -> None:
    async with asking(store, Principal("owner", Role.OWNER, teams=frozenset({MINE}))) as http:
        assert (await http.get("/clients/zzz-client")).status_code == 200
        assert (await http.get("/settings")).status_code == 200


async def test_team_that_does_not_exist_is_named(store: MemoryStore) -> None:
    async with asking(store) as http:
        for wanted, said in (
            ("paymants", "did you mean payments?"),
            ("nothing-like-it", "affiant team add nothing-like-it"),
        ):
            reply = await http.patch("/clients/payments-client", json={"team": wanted})
            assert (reply.status_code, reply.json()["reason"]) == (422, "admin.invalid")
            assert said in reply.json()["detail"]


async def test_team_that_owns_something_stays(store: MemoryStore) -> None:
    await store.clients.add(member("lead", Role.OPERATOR, administers=("empty",)))
    async with asking(store) as http:
        reply = await http.delete(f"/teams/{MINE}")
        assert reply.status_code == 422
        assert "the invitation payments-invitation" in reply.json()["detail"]
        await store.initial_access_tokens.remove("payments-invitation")
        detail = (await http.delete(f"/teams/{MINE}")).json()["detail"]
        assert "client payments-client, api https://payments.example, trust payments-trust" in detail
        assert (await http.post("/teams", json={"name": "empty"})).status_code == 201
        assert "the administrator lead" in (await http.delete("/teams/empty")).json()["detail"]
        await store.clients.remove("lead")
        assert (await http.delete("/teams/empty")).status_code == 204
        assert (await http.delete("/teams/empty")).status_code == 404
