"""RFC 9449, DPoP: the token endpoint, the guard of an API, and the proofs that we make ourselves."""

import hmac
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx2
import jwt
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.rfc.conftest import API, refusal, running

from affiant.jose import base64url, compact, keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import ProofKey
from affiant.reasons import Reason
from affiant.resource import Guard, ResourceMetadata
from affiant.resource.asgi import GuardMiddleware
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, NOW, Server

KEY, OTHER = keys.generate("ES256"), keys.generate("ES256")
URL = f"{ISSUER}/token"


def _proof(key: keys.PrivateKey = KEY, **changes: Any) -> str:
    options: dict[str, Any] = {"method": "POST", "url": URL, "now": NOW, **changes}
    return dpop.build(ProofKey.of(key), **options)


async def _ask(server: Server, text: str | None = None, **parameters: Any) -> httpx2.Response:
    return await server.post(server.form(**parameters), headers={"dpop": text or _proof()})


async def _token(server: Server) -> str:
    return str((await _ask(server)).json()["access_token"])


def _api(server: Server, **options: Any) -> httpx2.AsyncClient:
    guard = Guard(ISSUER, audience=API, http=server.http, clock=lambda: server.clock.now, **options)
    app = Starlette(routes=[Route("/{rest:path}", lambda _: JSONResponse({}), methods=["GET", "POST"])])
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=GuardMiddleware(app, guard)), base_url=API)


def _shown(token: str, *, path: str = "/", key: keys.PrivateKey = KEY, **changes: Any) -> dict[str, str]:
    options: dict[str, Any] = {"method": "GET", "url": f"{API}{path}", "access_token": token, **changes}
    return {"authorization": f"DPoP {token}", "dpop": _proof(key, **options)}


@pytest.fixture
async def demanding(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server that demands nonces."""
    async with running(MemoryStore(), dpop_nonces="on") as made:
        await made.add_client("c1")
        yield made


@pytest.mark.rfc(9449, "4.2")
@pytest.mark.parametrize("alg", ASYMMETRIC)
def test_a_proof_has_its_parts(alg: str) -> None:
    """Typ, alg and jwk in the header, the public key alone; jti, htm, htu and iat, and what was asked for."""
    key = keys.generate("Ed25519" if alg == "EdDSA" else alg)
    found = compact.parse(_proof(key, nonce="n", access_token="t", url=f"{URL}?a=b#c"), limit=dpop.MAX_CHARACTERS)
    assert (found.header["typ"], found.header["alg"]) == ("dpop+jwt", key.alg)
    assert set(found.header) == {"typ", "alg", "jwk"}
    assert not {"d", "p", "q", "dp", "dq", "qi", "priv", "k"} & set(found.header["jwk"])
    hashed = base64url.encode(sha256(b"t").digest())
    claims = {"htm": "POST", "htu": URL, "iat": NOW, "nonce": "n", "ath": hashed}
    assert {name: value for name, value in found.claims.items() if name != "jti"} == claims
    proof = dpop.verify([_proof(key).encode()], method="POST", urls=(URL,), now=NOW)
    assert proof.jkt == key.public().thumbprint


@pytest.mark.rfc(9449, "4.2")
def test_no_two_proofs_have_one_jti() -> None:
    """A jti MUST be random enough: at least 96 bits."""
    made = {compact.parse(_proof()).claims["jti"] for _ in range(100)}
    assert len(made) == 100
    assert all(len(base64url.decode(jti)) >= 12 for jti in made)


@pytest.mark.rfc(9449, "4.2")
def test_a_proof_is_one_for_others() -> None:
    """PyJWT verifies it with the key that it brings."""
    text = _proof(nonce="n")
    key = jwt.PyJWK(jwt.get_unverified_header(text)["jwk"], "ES256")
    claims = jwt.decode(text, key, algorithms=["ES256"], options={"verify_iat": False})
    assert (claims["htm"], claims["htu"], claims["nonce"]) == ("POST", URL, "n")


@pytest.mark.rfc(9449, "4.3")
@pytest.mark.parametrize(
    "url", ["https://AS.example/token", "https://as.example:443/token", f"{URL}?x=1#y", "https://as.example/%74oken"]
)
async def test_urls_are_compared_normalised(server: Server, url: str) -> None:
    """Query and fragment are ignored; case, default port and needless escapes make no difference."""
    text = compact.sign(
        {"typ": "dpop+jwt", "jwk": ProofKey.of(KEY).jwk}, {"jti": "1", "htm": "POST", "htu": url, "iat": NOW}, KEY
    )
    assert (await _ask(server, text)).status_code == 200


_CLAIMS = {"jti": "1", "htm": "POST", "htu": URL, "iat": NOW}
_HEADER = {"typ": "dpop+jwt", "jwk": ProofKey.of(KEY).jwk}


@pytest.mark.rfc(9449, "4.3")
@pytest.mark.parametrize(
    ("header", "claims", "reason"),
    [
        ({}, {"jti": None}, Reason.DPOP_JTI),  # item 3: all that is required is there
        ({}, {"htm": None}, Reason.DPOP_METHOD),
        ({}, {"htu": None}, Reason.DPOP_URL),
        ({}, {"iat": None}, Reason.DPOP_TIME),
        ({"jwk": None}, {}, Reason.DPOP_KEY),
        ({"typ": "JWT"}, {}, Reason.DPOP_TYPE),  # item 4
        ({"jwk": ProofKey.of(OTHER).jwk}, {}, Reason.DPOP_SIGNATURE),  # item 6
        ({"jwk": KEY.to_jwk()}, {}, Reason.DPOP_KEY),  # item 7: a private key
        ({}, {"htm": "GET"}, Reason.DPOP_METHOD),  # item 8
        ({}, {"htu": f"{ISSUER}/other"}, Reason.DPOP_URL),  # item 9
        ({}, {"iat": NOW - 61}, Reason.DPOP_TIME),  # item 11
        ({}, {"iat": NOW + 61}, Reason.DPOP_TIME),
    ],
)
async def test_each_check_of_the_list(
    server: Server, header: dict[str, Any], claims: dict[str, Any], reason: Reason
) -> None:
    """By its item. The good one is taken afterwards with the very same assertion: what was refused used up nothing."""
    asked = server.form()
    text = compact.sign(_without_none({**_HEADER, **header}), _without_none({**_CLAIMS, **claims}), KEY)
    reply = await server.post(asked, headers={"dpop": text})
    assert refusal(reply) == (400, "invalid_dpop_proof")
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/{reason.code}"
    good = await server.post(asked, headers={"dpop": compact.sign(_HEADER, _CLAIMS, KEY)})
    assert good.json()["token_type"] == "DPoP"


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


@pytest.mark.rfc(9449, "4.3")
@pytest.mark.parametrize("alg", ["none", "HS256"])
async def test_a_proof_is_signed_with_a_private_key(server: Server, alg: str) -> None:
    """Item 5: alg is a registered asymmetric algorithm, not none."""
    parts = [base64url.encode(json.dumps(part).encode()) for part in ({**_HEADER, "alg": alg}, _CLAIMS)]
    mac = hmac.digest(json.dumps(_HEADER["jwk"]).encode(), ".".join(parts).encode(), "sha256")
    text = ".".join([*parts, "" if alg == "none" else base64url.encode(mac)])
    reply = await _ask(server, text)
    assert refusal(reply) == (400, "invalid_dpop_proof")
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/{Reason.DPOP_ALGORITHM.code}"


@pytest.mark.rfc(9449, "5")
@pytest.mark.rfc(9449, "6.1")
async def test_the_token_is_bound_and_says_so(server: Server) -> None:
    """The token_type is DPoP, and cnf has the thumbprint of the key (section 6.1)."""
    members = (await _ask(server)).json()
    assert members["token_type"] == "DPoP"
    assert compact.parse(members["access_token"]).claims["cnf"] == {"jkt": KEY.public().thumbprint}


@pytest.mark.rfc(9449, "5")
async def test_a_bad_proof_is_400(server: Server) -> None:
    assert refusal(await _ask(server, _proof(method="GET"))) == (400, "invalid_dpop_proof")
    headers = [("dpop", _proof()), ("dpop", _proof())]
    assert refusal(await server.post(server.form(), headers=headers)) == (400, "invalid_dpop_proof")


@pytest.mark.rfc(9449, "5")
async def test_a_refresh_token_is_the_clients(server: Server) -> None:
    """Not bound to a key for a client that authenticates: another key may refresh, and the token is bound to that one."""
    first = (await _ask(server, client_assertion=server.assertion("refreshing"))).json()
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    asked = server.form(server.assertion("refreshing"), **refresh)
    second = (await server.post(asked, headers={"dpop": _proof(OTHER)})).json()
    assert compact.parse(second["access_token"]).claims["cnf"] == {"jkt": OTHER.public().thumbprint}
    asked = server.form(server.assertion("refreshing"), **{**refresh, "refresh_token": second["refresh_token"]})
    third = (await server.post(asked)).json()
    assert (third["token_type"], "cnf" in compact.parse(third["access_token"]).claims) == ("Bearer", False)


@pytest.mark.rfc(9449, "5.1")
async def test_the_metadata_name_the_algorithms(server: Server) -> None:
    """None of them is symmetric."""
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["dpop_signing_alg_values_supported"] == list(ASYMMETRIC)


@pytest.mark.rfc(9449, "5.2")
async def test_a_bound_client_gets_nothing_without_a_proof(server: Server) -> None:
    await server.add_client("bound", dpop_bound_access_tokens=True)
    asked = server.form(server.assertion("bound"))
    assert refusal(await server.post(asked)) == (400, "invalid_dpop_proof")
    assert (await server.post(asked, headers={"dpop": _proof()})).json()["token_type"] == "DPoP"


@pytest.mark.rfc(9449, "6.2")
async def test_introspection_tells_the_binding(server: Server) -> None:
    await server.add_client("api", introspects=(API,))
    asked = {**server.form(server.assertion("api")), "token": await _token(server)}
    members = (await server.http.post("/introspect", data=asked)).json()
    assert (members["token_type"], members["cnf"]) == ("DPoP", {"jkt": KEY.public().thumbprint})


@pytest.mark.rfc(9449, "7.1")
async def test_a_request_with_token_and_proof_is_let_through(server: Server) -> None:
    token = await _token(server)
    async with _api(server) as api:
        assert (await api.get("/", headers=_shown(token))).status_code == 200
        shown = _shown(token, path="/a%2Fb/%7Ec/\u00e9".replace("\u00e9", "%C3%A9"))
        assert (await api.get("/a%2Fb/%7Ec/%C3%A9?q=1", headers=shown)).status_code == 200
        assert (await api.get("/a/b/~c/", headers=_shown(token, path="/a%2Fb/~c/"))).status_code == 401


@pytest.mark.rfc(9449, "7.1")
@pytest.mark.parametrize(
    "changes",
    [{"method": "POST"}, {"url": f"{API}/other"}, {"url": "https://other.example/"}, {"access_token": "x"}, {"now": NOW - 100}],
)  # fmt: skip
async def test_a_proof_of_something_else_is_refused(server: Server, changes: dict[str, Any]) -> None:
    """401 with the scheme DPoP, the error and the algorithms."""
    token = await _token(server)
    async with _api(server) as api:
        reply = await api.get("/", headers=_shown(token, **changes) | {"authorization": f"DPoP {token}"})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"].startswith(f'DPoP realm="{API}", error="invalid_dpop_proof", ')
    assert f'algs="{" ".join(ASYMMETRIC)}"' in reply.headers["www-authenticate"]


@pytest.mark.rfc(9449, "7.1")
@pytest.mark.parametrize("used", ["Bearer", "DPoP"])
async def test_an_api_lists_the_algorithms_that_it_takes(server: Server, used: str) -> None:
    """The challenge and the metadata name the same ones, and a proof of any other is refused."""
    told = {"metadata": ResourceMetadata(), "proof_algorithms": ["Ed25519", "ES384"]}
    async with _api(server, **told) as api:
        challenge = (await api.get("/", headers={"authorization": f"{used} x"})).headers["www-authenticate"]
        document = (await api.get("/.well-known/oauth-protected-resource")).json()
    assert 'algs="Ed25519 ES384"' in challenge
    assert document["dpop_signing_alg_values_supported"] == ["Ed25519", "ES384"]


@pytest.mark.rfc(9449, "4.3")
@pytest.mark.parametrize(("taken", "status"), [("ES256", 200), ("Ed25519", 401)])
async def test_an_api_refuses_proofs_of_other_algorithms(server: Server, taken: str, status: int) -> None:
    """The tokens of this issuer stay good: `algorithms` is about them alone."""
    token = await _token(server)
    async with _api(server, proof_algorithms=[taken]) as api:
        reply = await api.get("/", headers=_shown(token))
    assert reply.status_code == status
    assert status == 200 or reply.json()["error"] == "invalid_dpop_proof"


@pytest.mark.rfc(9449, "7.1")
async def test_a_token_that_is_not_bound_is_no_dpop_token(server: Server) -> None:
    token = (await server.token())["access_token"]
    async with _api(server) as api:
        reply = await api.get("/", headers=_shown(token))
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_token")


@pytest.mark.rfc(9449, "7.2")
async def test_a_bound_token_is_no_bearer_token(server: Server) -> None:
    """MUST be rejected; and who asks without a token is told of both schemes."""
    async with _api(server) as api:
        reply = await api.get("/", headers={"authorization": f"Bearer {await _token(server)}"})
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_token")
        challenge = (await api.get("/")).headers["www-authenticate"]
    assert challenge == f'Bearer realm="{API}", DPoP algs="{" ".join(ASYMMETRIC)}"'


@pytest.mark.rfc(9449, "7.2")
async def test_an_api_may_take_bound_tokens_alone(server: Server) -> None:
    token = (await server.token())["access_token"]
    async with _api(server, dpop="required") as api:
        reply = await api.get("/", headers={"authorization": f"Bearer {token}"})
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith(f'DPoP realm="{API}", error="invalid_token"')
        assert "Bearer" not in reply.headers["www-authenticate"]
        assert (await api.get("/", headers=_shown(await _token(server)))).status_code == 200


@pytest.mark.rfc(9449, "8")
async def test_the_server_gives_nonces(demanding: Server) -> None:
    """400 use_dpop_nonce with the nonce; with it a token and, for next time, the nonce again (section 8.2)."""
    reply = await _ask(demanding)
    assert refusal(reply) == (400, "use_dpop_nonce")
    nonce = reply.headers["dpop-nonce"]
    good = await _ask(demanding, _proof(nonce=nonce))
    assert (good.status_code, good.headers["dpop-nonce"], good.headers["cache-control"]) == (200, nonce, "no-store")
    assert refusal(await _ask(demanding, _proof(nonce=f"{nonce}x"))) == (400, "use_dpop_nonce")


@pytest.mark.rfc(9449, "8.2")
async def test_a_nonce_ends(demanding: Server) -> None:
    """It is taken in the window that it was given out in and in the next one; then there is another."""
    nonce = (await _ask(demanding)).headers["dpop-nonce"]
    demanding.clock.now += dpop.NONCE_SECONDS
    good = await _ask(demanding, _proof(nonce=nonce))
    assert (good.status_code, good.headers["dpop-nonce"] == nonce) == (200, False)
    demanding.clock.now += dpop.NONCE_SECONDS
    assert refusal(await _ask(demanding, _proof(nonce=nonce))) == (400, "use_dpop_nonce")


@pytest.mark.rfc(9449, "8")
async def test_a_nonce_costs_bearer_clients_nothing(demanding: Server) -> None:
    reply = await demanding.post(demanding.form())
    assert (reply.status_code, reply.json()["token_type"], "dpop-nonce" in reply.headers) == (200, "Bearer", False)


@pytest.mark.rfc(9449, "9")
async def test_an_api_gives_nonces_of_its_own(server: Server) -> None:
    token = await _token(server)
    async with _api(server, nonce_key=bytes(16)) as api:
        reply = await api.get("/", headers=_shown(token))
        assert (reply.status_code, reply.json()["error"]) == (401, "use_dpop_nonce")
        assert reply.headers["www-authenticate"].startswith(f'DPoP realm="{API}", error="use_dpop_nonce"')
        shown = _shown(token, nonce=reply.headers["dpop-nonce"])
        assert (await api.get("/", headers=shown)).status_code == 200


@pytest.mark.rfc(9449, "11.1")
async def test_a_proof_is_good_once(server: Server) -> None:
    token, text = await _token(server), _proof()
    assert (await _ask(server, text)).status_code == 200
    assert refusal(await _ask(server, text)) == (400, "invalid_dpop_proof")
    async with _api(server) as api:
        shown = _shown(token)
        assert [(await api.get("/", headers=shown)).status_code for _ in range(3)] == [200, 401, 401]
