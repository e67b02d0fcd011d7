"""The admin API fetches the keys of a trust before it is saved, where it is asked to, and shows them later."""

import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from tests.admin import ADMIN, NOW, OWNER, make_context
from tests.key_server import HOST, KeyServer, fetcher
from tests.key_server import running as publishing

from affiant.jose import keys
from affiant.server.admin import app
from affiant.server.admin.roles import Principal
from affiant.server.registry.federation.keys import TrustKeys
from affiant.storage.memory import MemoryStore

KEY, NEXT = keys.generate("ES256"), keys.generate("ES256")
JWKS = {"keys": [KEY.public().to_jwk()]}


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with publishing() as made:
        made.publish(KEY.public().to_jwk(), {"kty": "?"})
        yield made


@pytest.fixture
async def http(server: KeyServer) -> AsyncIterator[httpx2.AsyncClient]:
    async def authenticate(*_: object) -> Principal:
        return OWNER

    context = make_context(MemoryStore(), trust_keys=TrustKeys(fetcher(names=server.names)))
    gate = app.build(context, clock=lambda: float(NOW), authenticate=authenticate)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=gate), base_url=ADMIN) as made:
        yield made


async def test_trust_whose_keys_cannot_be_obtained_is_not_saved(http: httpx2.AsyncClient, server: KeyServer) -> None:
    wanted = {"name": "ci", "issuer": "https://ci.example", "jwks_uri": server.uri("other.example")}
    refused = await http.post("/trusts?try_keys=true", json=wanted)
    assert refused.status_code == 422
    assert "the certificate of the host is not valid" in refused.json()["detail"]
    assert (await http.get("/trusts/ci")).status_code == 404
    assert (await http.post("/trusts", json=wanted)).status_code == 201  # who does not ask for it waits for nobody
    moved = await http.patch("/trusts/ci?try_keys=true", json={"jwks_uri": server.uri("else.example")})
    assert (moved.status_code, (await http.get("/trusts/ci")).json()["jwks_uri"]) == (422, wanted["jwks_uri"])
    assert (await http.patch("/trusts/ci?try_keys=true", json={"jwks_uri": server.uri(HOST)})).status_code == 200


async def test_keys_of_a_trust_are_shown(http: httpx2.AsyncClient, server: KeyServer) -> None:
    wanted = {"name": "ci", "issuer": "https://ci.example", "jwks_uri": server.uri()}
    assert (await http.post("/trusts?try_keys=true", json=wanted)).status_code == 201
    shown = (await http.get("/trusts/ci/keys")).json()
    public = KEY.public()
    assert shown["keys"] == [{"kid": public.kid, "thumbprint": public.thumbprint, "algorithms": ["ES256"]}]
    assert (shown["uri"], shown["problem"]) == (server.uri(), None)
    assert shown["left_out"] == ["key 2 of the JWK Set: kty must be RSA, EC, OKP or AKP"]
    assert shown["in_use"] == "its keys were never fetched"
    server.vanish()
    away = (await http.get("/trusts/ci/keys")).json()
    assert (away["keys"], "the host cannot be reached" in away["problem"]) == ([], True)


async def test_uploaded_keys_are_shown_with_their_age(http: httpx2.AsyncClient) -> None:
    wanted = {"name": "ci", "issuer": "https://ci.example", "jwks": JWKS}
    assert (await http.post("/trusts?try_keys=true", json=wanted)).status_code == 201
    shown = (await http.get("/trusts/ci/keys")).json()
    assert (shown["uri"], shown["in_use"]) == (None, "its key set was uploaded 0 s ago")
    assert json.dumps(JWKS["keys"][0]["kid"]) in json.dumps(shown)
    assert (await http.get("/trusts/none/keys")).status_code == 404
