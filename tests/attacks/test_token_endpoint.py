"""Rows T1 to T5 of the attack catalogue that the token endpoint reaches, each by its number.

Every row also asserts: JSON, no-store, a body of at most 1 KiB, no 5xx, one audit record with the reason, and whether
the jti was used up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey, SecretKey
from affiant.reasons import Reason
from affiant.server import app, registration
from affiant.server.keys.master_key import MasterKey
from affiant.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ISSUER, NOW = "https://as.example", 1_800_000_000
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = keys.generate("ES256")


@dataclass
class Bench:
    """A server in this process, on memory, at a fixed time."""

    http: httpx2.AsyncClient
    store: MemoryStore
    now: list[float]

    async def post(self, form: dict[str, Any], **options: Any) -> httpx2.Response:
        return await self.http.post("/token", data=form, **options)

    async def refused(self, reply: httpx2.Response, reason: Reason) -> None:
        row = reason.value
        assert (reply.status_code, reply.json()["error"]) == (row.status, row.error), reply.text
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["cache-control"] == "no-store"
        assert len(reply.content) <= 1024
        if row.status == 401:
            assert reply.headers["www-authenticate"].startswith("Basic ")
        record = await self.store.audit_log.find(reply.json()["trace_id"])
        assert record["reason"] == row.code
        assert record["outcome"] == "refused"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """One API, and the client c1 with KEY."""
    store, now = MemoryStore(), [float(NOW)]
    master = MasterKey.from_bytes(bytes(32))
    api = registration.build_api("a", identifier="https://api.example", scopes=("r",), is_default=True, now=NOW)
    await store.apis.add(api)
    for name in ("c1", "c2"):
        made = registration.build_client(
            name,
            auth_method="private_key_jwt",
            master_key=master,
            now=NOW,
            keys=(KEY.public(),),
            scopes=("r",),
        )
        await store.clients.add(made.client)
    server = app.build(issuer=ISSUER, store=store, master_key=master, clock=lambda: now[0])
    transport = httpx2.ASGITransport(app=server)
    async with server.router.lifespan_context(server), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        yield Bench(http, store, now)


def _claims(**changes: Any) -> dict[str, Any]:
    claims = {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j", **changes}
    return {name: value for name, value in claims.items() if value != "absent"}


def _form(key: PrivateKey | SecretKey = KEY, *, header: dict[str, Any] | None = None, **claims: Any) -> dict[str, str]:
    text = compact.sign(header or {}, _claims(**claims), key)
    return {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": text}


REQUESTS = [
    (16, {"content": "grant_type=client_credentials&grant_type=client_credentials"}, Reason.DUPLICATE_PARAMETER),
    (20, {"content": "grant_type=client_credentials;client_id=c1"}, Reason.GRANT_UNSUPPORTED),
    (22, {"content": "client_id=%zz"}, Reason.ENCODING),
    (24, {"content": "client_id=%ff%fe"}, Reason.ENCODING),
    (10, {"content": ""}, Reason.MISSING_PARAMETER),
    (11, {"content": "a=" + "x" * 65_536}, Reason.TOO_LARGE),
    (31, {"content": "grant_type=client_credentials"}, Reason.NO_CREDENTIALS),
    (160, {"content": "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer"}, Reason.GRANT_UNSUPPORTED),
    (32, {"content": "grant_type=client_credentials&client_assertion=a.b.c"}, Reason.HALF_ASSERTION),
    (33, {"content": f"grant_type=client_credentials&client_assertion_type={TYPE}"}, Reason.HALF_ASSERTION),
]


@pytest.mark.parametrize(("row", "request_", "reason"), REQUESTS)
async def test_forms(bench: Bench, row: int, request_: dict[str, Any], reason: Reason) -> None:
    """T1 and T2: what is wrong with the form is told in full."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    await bench.refused(await bench.http.post("/token", headers=headers, **request_), reason)


async def test_method_type_and_query(bench: Bench) -> None:
    """T1 rows 1, 3, 5 to 8."""
    reply = await bench.http.get("/token", params=_form())
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    form = {"content-type": "application/x-www-form-urlencoded"}
    await bench.refused(await bench.http.post("/token", params=_form(), headers=form), Reason.IN_QUERY)
    for content_type in ("application/json", "multipart/form-data; boundary=x", ""):
        headers = {"content-type": content_type} if content_type else {}
        await bench.refused(await bench.http.post("/token", content=b"{}", headers=headers), Reason.CONTENT_TYPE)
    charset = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
    assert (await bench.post(_form(), headers=charset)).status_code == 200


async def test_two_methods(bench: Bench) -> None:
    """T2 rows 34, 36, 38: an assertion beside another method is invalid_client (RFC 7521 4.2.1)."""
    await bench.refused(await bench.post({**_form(), "client_secret": "x"}), Reason.ASSERTION_AND_OTHER)
    reply = await bench.post(_form(), headers={"authorization": "Bearer x"})
    await bench.refused(reply, Reason.ASSERTION_AND_OTHER)
    await bench.refused(await bench.post({**_form(), "client_assertion_type": "urn:x"}), Reason.ASSERTION_TYPE)
    await bench.refused(await bench.post({**_form(), "client_id": "c2"}), Reason.CLIENT_ID)
    assert (await bench.post(_form())).status_code == 200  # none of them used the jti up


REFUSED = [
    (88, {"header": {"typ": "at+jwt"}}, Reason.JWT_TYP),
    (89, {"header": {"typ": None}}, Reason.JWT_TYP),
    (101, {"iss": "absent"}, Reason.ISS_SUB),
    (101, {"sub": "absent"}, Reason.ISS_SUB),
    (102, {"sub": "c2"}, Reason.ISS_SUB),
    (101, {"aud": "absent"}, Reason.AUDIENCE),
    (105, {"aud": f"{ISSUER}/token"}, Reason.AUDIENCE),
    (107, {"aud": [ISSUER, "https://other.example"]}, Reason.AUDIENCE),
    (108, {"aud": f"{ISSUER}/"}, Reason.AUDIENCE),
    (108, {"aud": "https://AS.example"}, Reason.AUDIENCE),
    (110, {"aud": {ISSUER: 1}}, Reason.AUDIENCE),
    (110, {"aud": []}, Reason.AUDIENCE),
    (101, {"exp": "absent"}, Reason.EXP_MISSING),
    (117, {"exp": str(NOW + 60)}, Reason.EXP_MISSING),
    (117, {"exp": True}, Reason.EXP_MISSING),
    (117, {"exp": 10**400}, Reason.EXP_MISSING),
    (117, {"exp": -1}, Reason.EXPIRED),
    (113, {"exp": NOW - 31}, Reason.EXPIRED),
    (114, {"exp": NOW - 300}, Reason.EXPIRED),
    (115, {"exp": NOW + 331}, Reason.LIFETIME),
    (115, {"exp": (NOW + 60) * 1000}, Reason.LIFETIME),
    (119, {"iat": NOW + 31}, Reason.IAT_FUTURE),
    (119, {"iat": NOW - 331}, Reason.IAT_OLD),
    (120, {"nbf": NOW + 61}, Reason.NOT_YET),
    (122, {"iat": "x"}, Reason.TIME_CLAIM),
    (101, {"jti": "absent"}, Reason.JTI),
    (124, {"jti": ""}, Reason.JTI),
    (124, {"jti": 5}, Reason.JTI),
    (124, {"jti": "x" * 257}, Reason.JTI),
]


@pytest.mark.parametrize(("row", "change", "reason"), REFUSED)
async def test_claims(bench: Bench, row: int, change: dict[str, Any], reason: Reason) -> None:
    """T4: each claim that is wrong has its reason, and leaves the jti to be used."""
    await bench.refused(await bench.post(_form(**change)), reason)
    assert (await bench.post(_form())).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"aud": [ISSUER]},
        {"exp": NOW - 5},
        {"exp": NOW + 300},
        {"exp": NOW + 60.5},
        {"iat": NOW + 10},
        {"nbf": NOW + 8},
        {"iat": "absent"},
        {"scope": "admin", "cnf": {"jkt": "x"}, "client_id": "c2"},
        {"header": {"typ": "client-authentication+jwt"}},
        {"header": {"typ": "application/client-authentication+jwt"}},
        {"header": {"typ": "jwt", "jwk": {"kty": "oct"}, "jku": "https://evil.example"}},
    ],
)
async def test_accepted(bench: Bench, change: dict[str, Any]) -> None:
    """T3 and T4: what is within the rules is let in, and nothing of the assertion reaches the token."""
    reply = await bench.post(_form(**change))
    assert reply.status_code == 200, reply.text
    claims = compact.parse(reply.json()["access_token"]).claims
    assert claims["sub"] == claims["client_id"] == "c1"
    assert claims["scope"] == "r"
    assert "cnf" not in claims


async def test_one_answer_until_the_signature(bench: Bench) -> None:
    """Unknown client, disabled client, wrong key, wrong kid, wrong algorithm: the same bytes but for the trace."""
    stranger = keys.generate("ES256")
    await bench.store.clients.update("c2", lambda client: replace(client, enabled=False))
    secret = SecretKey(json.dumps(KEY.public().to_jwk()).encode())
    wrong_key = keys.parse_private_jwk({**stranger.to_jwk(), "kid": KEY.kid})
    cases = [
        (_form(iss="nobody", sub="nobody"), Reason.CLIENT_UNKNOWN),
        (_form(iss="c2", sub="c2"), Reason.CLIENT_DISABLED),
        (_form(wrong_key), Reason.SIGNATURE),
        (_form(stranger), Reason.KEY_UNKNOWN),
        (_form(secret), Reason.KEY_NONE),
        (_form(keys.generate("RS256")), Reason.KEY_UNKNOWN),
    ]
    bench.now[0] += 1  # the directory looks at the store again
    seen = set()
    for form, reason in cases:
        reply = await bench.post(form)
        await bench.refused(reply, reason)
        told = {name: value for name, value in reply.json().items() if name != "trace_id"}
        headers = sorted((n, v) for n, v in reply.headers.items() if n != "x-trace-id")
        seen.add(json.dumps([told, headers]))
    assert len(seen) == 1


@pytest.mark.attack(137)
async def test_replay_sweep(bench: Bench) -> None:
    """From five seconds before its end to two minutes after, a used assertion is never good again."""
    form = _form(exp=NOW + 10)
    assert (await bench.post(form)).status_code == 200
    for second in range(NOW + 5, NOW + 130):
        bench.now[0] = float(second)
        await bench.store.ledger.purge(second)
        expected = Reason.REPLAYED if second < NOW + 40 else Reason.EXPIRED
        await bench.refused(await bench.post(form), expected)


@pytest.mark.attack(140)
async def test_refused_scope_uses_the_jti_up(bench: Bench) -> None:
    """Who proved who it is has used its assertion, whatever it then asked for."""
    form = _form()
    await bench.refused(await bench.post({**form, "scope": "admin"}), Reason.SCOPE_NOT_ALLOWED)
    await bench.refused(await bench.post({**form, "scope": "r"}), Reason.REPLAYED)
    await bench.refused(await bench.post({**_form(jti="k"), "resource": "relative"}), Reason.RESOURCE_MALFORMED)
    other = {**_form(jti="l"), "resource": "https://other.example"}
    await bench.refused(await bench.post(other), Reason.RESOURCE_NOT_ALLOWED)
    refresh = {**_form(jti="m"), "grant_type": "refresh_token", "refresh_token": "x"}
    await bench.refused(await bench.post(refresh), Reason.GRANT_NOT_ALLOWED)


async def test_every_reason_has_its_page(bench: Bench) -> None:
    """Whatever error_uri names is there, without a request elsewhere."""
    for reason in Reason:
        page = await bench.http.get(f"/errors/{reason.code}")
        assert page.status_code == 200
        assert "http" not in page.text.split("</style>")[1]
        assert "script" not in page.text
    assert (await bench.http.get("/errors/client.authentication_failed")).status_code == 200
    assert (await bench.http.get("/errors/nothing")).status_code == 404


async def test_published(bench: Bench) -> None:
    """Metadata name this issuer and only what is mounted; keys have no private part."""
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        document = (await bench.http.get(path)).json()
        assert document["issuer"] == ISSUER
        assert document["grant_types_supported"] == ["client_credentials", "refresh_token"]
        assert "none" not in document["token_endpoint_auth_signing_alg_values_supported"]
    (key,) = (await bench.http.get("/jwks")).json()["keys"]
    assert not {"d", "k", "p"} & set(key)
    assert (await bench.http.get("/health")).json() == {"status": "ok"}
