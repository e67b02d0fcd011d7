"""T15: whom nobody made an owner is none, by no other door; and what a stranger sends fills no log."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.attacks.bench import OTHER, PROXY, Bench, api_proof, dpop, proof, running
from tests.attacks.callers import ADMIN, ask, hire, token
from tests.attacks.registering import bearer, body, invite, register
from tests.certificates import make
from tests.wire import JSON_TYPE, Reply, Request

from affiant.jose import compact
from affiant.oauth.binding.dpop import Nonces
from affiant.server.admin.roles import SCOPES
from affiant.server.keys import signing_keys
from affiant.server.keys.vault import Vault
from affiant.server.request.limits import Rate, Rates
from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Client
from affiant.testing import ABSENT, ISSUER, KEY, NOW

CERTIFICATE, STOLEN = make(dns=("a.example",)), make(dns=("b.example",))


async def show(bench: Bench, held: str, *headers: tuple[bytes, bytes], scheme: str = "Bearer", **more: Any) -> Reply:
    authorization = (b"authorization", f"{scheme} {held}".encode())
    return await bench.send(Request(b"", "GET", "/admin/api/clients", headers=(authorization, *headers), **more))


async def registered(bench: Bench, **sent: Any) -> dict[str, Any]:
    reply = await bench.send(register(await invite(bench), body(**sent)))
    assert reply.status == 201, reply.body
    return reply.json()


@pytest.mark.attack(287)
@pytest.mark.parametrize("scope", SCOPES)
async def test_registration_gives_no_role(staffed: Bench, scope: str) -> None:
    """Not with a scope, not for the API, not by asking for nothing; whoever made the initial access token."""
    before = await staffed.store.clients.list()
    for options in ({"scope": ("r", scope)}, {"scope": ("r", scope), "resources": (ADMIN,)}):
        for wanted in (scope, f"r {scope}", ABSENT):
            reply = await staffed.send(register(await invite(staffed, **options), body(scope=wanted)))
            assert (reply.status, reply.json()["error"]) == (400, "invalid_client_metadata"), reply.body
    reply = await staffed.send(register(await invite(staffed, resources=(ADMIN,))))
    assert reply.status == 400
    for member in ("introspects", "resources", "resource", "registration_scope", "enabled", "role"):
        made = await registered(staffed, **{member: [ADMIN]})
        found = await staffed.store.clients.find(made["client_id"])
        assert found is not None
        assert ADMIN not in (*found.resources, *found.introspects)
        await staffed.store.clients.remove(made["client_id"])
    assert await staffed.store.clients.list() == before


@pytest.mark.attack(287)
async def test_replaced_registration_gives_no_role(staffed: Bench) -> None:
    made = await registered(staffed)
    name, key = made["client_id"], made["registration_access_token"]
    for reach in ({"registration_scope": ("r", "admin.owner")}, {"resources": (ADMIN,)}, {"introspects": (ADMIN,)}):
        await staffed.change_client(name, **reach)
        sent = json.dumps({**body(scope="admin.owner"), "client_id": name}).encode()
        put = Request(sent, "PUT", f"/register/{name}", headers=(JSON_TYPE, bearer(key)))
        assert (await staffed.send(put)).status in (400, 401), reach
        found = await staffed.store.clients.find(name)
        assert found is not None
        assert found.scope == ("r",)
        await staffed.change_client(name, registration_scope=("r",), resources=(), introspects=())


@pytest.mark.attack(287)
async def test_removed_rights_do_not_return(staffed: Bench) -> None:
    """Not the scope, and not the grants: a replacement may leave them out, or have what was left."""
    made = await registered(staffed, grant_types=["client_credentials", "refresh_token"])
    name, key = made["client_id"], made["registration_access_token"]

    async def replace_with(**members: Any) -> Reply:
        sent = json.dumps({**body(**members), "client_id": name}).encode()
        return await staffed.send(Request(sent, "PUT", f"/register/{name}", headers=(JSON_TYPE, bearer(key))))

    left = {"scope": [], "grant_types": ["client_credentials"]}
    changed = await ask(staffed, "owner", f"PATCH /clients/{name}", left)
    assert changed.status == 200, changed.body
    for wanted in ({"scope": "r"}, {"scope": ABSENT, "grant_types": ["refresh_token"]}):
        reply = await replace_with(**wanted)
        assert (reply.status, reply.json()["error"]) == (400, "invalid_client_metadata"), wanted
    told = (await replace_with(scope=ABSENT, grant_types=ABSENT)).json()
    assert (told["grant_types"], told.get("scope")) == (["client_credentials"], None)


@pytest.mark.attack(287)
async def test_registration_token_of_owner_opens_nothing(staffed: Bench) -> None:
    """Should there be one all the same: it has no role, its token none, and its registration is closed."""
    made = await registered(staffed)
    name, key = made["client_id"], made["registration_access_token"]
    await staffed.change_client(name, scope=("admin.owner",), resources=(ADMIN,))
    held = await token(staffed, name)
    reply = await show(staffed, held)
    assert (reply.status, reply.json()["reason"]) == (403, "token.insufficient_scope")
    for method in ("GET", "PUT", "DELETE"):
        sent = json.dumps({**body(), "client_id": name}).encode() if method == "PUT" else b""
        headers = (*((JSON_TYPE,) if sent else ()), bearer(key))
        assert (await staffed.send(Request(sent, method, f"/register/{name}", headers=headers))).status == 401
    # Nor does it count as the owner that is left.
    assert (await ask(staffed, "owner", "DELETE /clients/owner2")).status == 204
    assert (await ask(staffed, "owner", "DELETE /clients/owner")).status == 409


@pytest.mark.attack(287)
@pytest.mark.parametrize("wanted", [{"scope": ["admin.viewer"]}, {"resources": [ADMIN]}, {"introspects": [ADMIN]}])
async def test_even_owner_gives_it_no_role(staffed: Bench, wanted: dict[str, Any]) -> None:
    name = (await registered(staffed))["client_id"]
    reply = await ask(staffed, "owner", f"PATCH /clients/{name}", wanted)
    assert (reply.status, reply.json()["reason"]) == (422, "admin.invalid"), reply.body
    assert "registered itself" in reply.json()["detail"]


@pytest.mark.attack(287)
@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": "client", "value": "owner"},
        {"kind": "key", "value": KEY.kid, "client_id": "owner"},
        {"kind": "key", "value": KEY.kid, "client_id": "operator"},
        {"kind": "api", "value": ADMIN},
    ],
)
async def test_operator_does_not_shut_owners_out(staffed: Bench, wanted: dict[str, Any]) -> None:
    """A revoked key is over for an hour, whatever token is asked for then; and once more, and once more."""
    reply = await ask(staffed, "operator", "POST /revocations", wanted)
    assert (reply.status, reply.json()["reason"]) == (403, "admin.owner_only")
    assert await staffed.store.revocations.list(NOW) == []
    assert (await ask(staffed, "owner", "POST /revocations", wanted)).status == 201


@pytest.mark.attack(285)
async def test_strangers_do_not_fill_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown paths, wrong methods, no token, a bad one: three are written down, then none, by address; owners pass."""
    rates = Rates(failures=Rate(3, 0.1), tokens=Rate(0, 1.0))
    async with running(MemoryStore(), caplog, monkeypatch, rates) as bench:
        await hire(bench)
        held = await token(bench, "owner")
        before = len(await bench.audited())
        seen = []
        for number in range(40):
            headers = ((b"authorization", b"Bearer x.y.z"),) if number % 2 else ()
            path = ("/admin/api/clients", f"/admin/api/{number}", "/admin/api")[number % 3]
            reply = await bench.send(Request(b"", ("GET", "PUT", "X")[number % 3], path, headers=headers))
            seen.append(reply.status)
            if reply.status == 429:
                assert int(reply.headers["retry-after"]) >= 1
        assert (seen.count(401), seen.count(429)) == (3, 37)
        assert len(await bench.audited()) == before + 3
        # From the same address, who proves who they are is let in, and told of a mistake that nobody writes down.
        assert (await show(bench, held)).status == 200
        assert (await bench.send(Request(b"", "GET", "/admin/api/nothing", headers=(bearer(held),)))).status == 429
        other = await bench.send(Request(b"", "GET", "/admin/api/nothing", address="198.51.100.1"))
        assert other.status == 401


@pytest.mark.attack(285)
async def test_certificate_bound_token_needs_its_certificate(staffed: Bench) -> None:
    """RFC 8705 section 3: without it, with another, or told by anybody but the proxy, it is a stolen one."""
    await staffed.add_client(
        "bound-owner", scope=("admin.owner",), resources=(ADMIN,), tls_client_certificate_bound_access_tokens=True
    )
    what = replace(staffed.signed("bound-owner", CERTIFICATE.header, resource=ADMIN), peer=PROXY)
    held = (await staffed.good(what))["access_token"]
    assert set(compact.parse(held).claims["cnf"]) == {"x5t#S256"}
    assert (await show(staffed, held, CERTIFICATE.header, peer=PROXY)).status == 200
    for headers, peer in (
        ((), PROXY),
        ((STOLEN.header,), PROXY),
        ((CERTIFICATE.header,), "203.0.113.9"),
        ((CERTIFICATE.header,), None),
    ):
        refused = await show(staffed, held, *headers, peer=peer)
        assert (refused.status, refused.json()["reason"]) == (401, "token.binding"), refused.body
    refused = await show(staffed, held, CERTIFICATE.header, dpop(api_proof(held)), scheme="DPoP", peer=PROXY)
    assert refused.status == 401
    broken = await show(staffed, held, (b"client-cert", b"x"), peer=PROXY)
    assert (broken.status, broken.json()["reason"]) == (400, "certificate.header"), broken.body


@pytest.mark.attack(285)
async def test_proof_needs_nonce_of_its_time(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9449 section 9: where nonces are on, they are on here; a proof that was made in store is worth nothing."""
    async with running(MemoryStore(), caplog, monkeypatch, dpop_nonces="on") as bench:
        await hire(bench)
        nonces = Nonces(bench.master_key.digest("dpop nonces"))
        nonce = nonces.current(NOW)
        what = bench.signed("viewer", dpop(proof(nonce=nonce)), resource=ADMIN)
        held = str((await bench.good(what))["access_token"])
        url = f"{ADMIN}/clients"
        refused = await show(bench, held, dpop(api_proof(held, htu=url, jti="1")), scheme="DPoP")
        assert (refused.status, refused.headers["dpop-nonce"]) == (401, nonce)
        assert refused.headers["www-authenticate"].startswith(f'Bearer, DPoP realm="{ISSUER}", error="use_dpop_nonce"')
        told = refused.headers["dpop-nonce"]
        good = dpop(api_proof(held, htu=url, jti="2", nonce=told))
        assert (await show(bench, held, good, scheme="DPoP")).status == 200
        assert (await show(bench, held, good, scheme="DPoP")).status == 401
        for number, wrong in enumerate(("x", Nonces(b"another key than ours").current(NOW), nonces.current(NOW - 600))):
            stale = dpop(api_proof(held, htu=url, jti=f"3{number}", nonce=wrong))
            assert (await show(bench, held, stale, scheme="DPoP")).json()["reason"] == "dpop.nonce"


async def _look(bench: Bench, jti: str) -> bool:
    held = await token(bench, "reader")
    reply = await bench.send(Request(b"", "GET", f"/admin/api/tokens/{jti}", headers=(bearer(held),)))
    assert reply.status == 200, reply.body
    return bool(reply.json()["revoked"])


ENDS: dict[str, Callable[[dict[str, Any]], Revocation]] = {
    "jti": lambda claims: Revocation("jti", claims["jti"], NOW, NOW + 3600),
    "family": lambda claims: Revocation("family", claims["jti"].partition(".")[0], NOW, NOW + 3600),
    "client": lambda _: Revocation("client", "refreshing", NOW, NOW + 3600),
    "key": lambda claims: Revocation("key", f"refreshing {claims['client_key']}", NOW, NOW + 3600),
    "any key": lambda claims: Revocation("key", claims["client_key"], NOW, NOW + 3600),
    "api": lambda _: Revocation("api", "https://api.example", NOW, NOW + 3600),
}


@pytest.mark.parametrize("kind", [*ENDS, "disabled", "removed", "without its API", "signing key", "none"])
async def test_token_lookup_shows_revocation(staffed: Bench, kind: str) -> None:
    """What introspection would say: by whatever name it ended."""
    await staffed.add_client("reader", scope=("admin.viewer",), resources=(ADMIN,), key=OTHER)
    claims, other = [
        compact.parse((await staffed.good(staffed.signed(name)))["access_token"]).claims
        for name in ("refreshing", "c1")
    ]
    assert not await _look(staffed, claims["jti"])
    store, client_id = staffed.store, "refreshing"
    if kind in ENDS:
        await store.ledger.claim(Entry(AuditRecord(NOW, "t", "x", "revoked"), revocations=(ENDS[kind](claims),)))
    elif kind == "disabled":
        await staffed.change_client(client_id, enabled=False)
    elif kind == "removed":
        await store.clients.remove(client_id)
    elif kind == "without its API":
        await store.apis.remove("https://api.example")
    elif kind == "signing key":
        staffed.clock.now += 10
        (key,) = await store.signing_keys.list()
        await signing_keys.remove(store, Vault(staffed.master_key), key.kid, now=int(staffed.clock.now), by="x")
    assert await _look(staffed, claims["jti"]) == (kind != "none")
    if kind in ("jti", "family", "client", "key", "disabled", "removed"):
        assert not await _look(staffed, other["jti"]), "it ended others too"


@pytest.mark.attack(287)
async def test_self_service_changes_own_keys_only(staffed: Bench) -> None:
    """POST /client-keys changes the keys of who signs, and nothing else: no scope, no role, no other client."""
    jwk, more = json.dumps(OTHER.public().to_jwk()), {"scope": "admin.owner", "resource": ADMIN, "client_id": "c1"}
    what = staffed.signed(path="/client-keys", grant_type=ABSENT, action="announce", jwk=jwk, **more)
    assert (await staffed.send(what)).status == 201
    found: Client | None = await staffed.store.clients.find("c1")
    assert found is not None
    assert (found.scope, found.resources, len(found.keys)) == (("r",), (), 2)
    again = staffed.signed(path="/client-keys", grant_type=ABSENT, action="list", client_id="owner")
    assert (await staffed.send(again)).status == 401
