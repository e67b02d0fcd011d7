"""RFC 9449, DPoP: the token endpoint, the guard of an API, and the proofs that we make ourselves."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx2
import jwt
import pytest
from tests.rfc.conftest import API, guarded, refusal, running

from affiant.jose import base64url, compact, keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import ProofKey
from affiant.resource import ResourceMetadata
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
def test_proof_has_its_parts(alg: str) -> None:
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
def test_proof_is_one_for_others() -> None:
    """PyJWT verifies it with the key that it brings."""
    text = _proof(nonce="n")
    key = jwt.PyJWK(jwt.get_unverified_header(text)["jwk"], "ES256")
    claims = jwt.decode(text, key, algorithms=["ES256"], options={"verify_iat": False})
    assert (claims["htm"], claims["htu"], claims["nonce"]) == ("POST", URL, "n")


@pytest.mark.rfc(9449, "5.1")
async def test_metadata_name_algorithms(server: Server) -> None:
    """None of them is symmetric."""
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["dpop_signing_alg_values_supported"] == list(ASYMMETRIC)


@pytest.mark.rfc(9449, "6.2")
async def test_introspection_has_jkt(server: Server) -> None:
    await server.add_client("api", introspects=(API,))
    asked = {**server.form(server.assertion("api")), "token": await _token(server)}
    members = (await server.http.post("/introspect", data=asked)).json()
    assert (members["token_type"], members["cnf"]) == ("DPoP", {"jkt": KEY.public().thumbprint})


@pytest.mark.rfc(9449, "7.1")
async def test_token_with_its_proof_passes(server: Server) -> None:
    token = await _token(server)
    async with guarded(server) as api:
        assert (await api.get("/", headers=_shown(token))).status_code == 200
        shown = _shown(token, path="/a%2Fb/%7Ec/\u00e9".replace("\u00e9", "%C3%A9"))
        assert (await api.get("/a%2Fb/%7Ec/%C3%A9?q=1", headers=shown)).status_code == 200
        assert (await api.get("/a/b/~c/", headers=_shown(token, path="/a%2Fb/~c/"))).status_code == 401


@pytest.mark.rfc(9449, "7.1")
@pytest.mark.parametrize("used", ["Bearer", "DPoP"])
async def test_api_lists_algorithms_that_it_takes(server: Server, used: str) -> None:
    """The challenge and the metadata name the same ones, and a proof of any other is refused."""
    told: dict[str, Any] = {"metadata": ResourceMetadata(), "proof_algorithms": ["Ed25519", "ES384"]}
    async with guarded(server, **told) as api:
        challenge = (await api.get("/", headers={"authorization": f"{used} x"})).headers["www-authenticate"]
        document = (await api.get("/.well-known/oauth-protected-resource")).json()
    assert 'algs="Ed25519 ES384"' in challenge
    assert document["dpop_signing_alg_values_supported"] == ["Ed25519", "ES384"]


@pytest.mark.rfc(9449, "4.3")
@pytest.mark.parametrize(("taken", "status"), [("ES256", 200), ("Ed25519", 401)])
async def test_api_refuses_proofs_of_other_algorithms(server: Server, taken: str, status: int) -> None:
    """The tokens of this issuer stay good: `algorithms` is about them alone."""
    token = await _token(server)
    async with guarded(server, proof_algorithms=[taken]) as api:
        reply = await api.get("/", headers=_shown(token))
    assert reply.status_code == status
    assert status == 200 or reply.json()["error"] == "invalid_dpop_proof"


@pytest.mark.rfc(9449, "7.2")
async def test_api_may_take_bound_tokens_alone(server: Server) -> None:
    token = (await server.token())["access_token"]
    async with guarded(server, dpop="required") as api:
        reply = await api.get("/", headers={"authorization": f"Bearer {token}"})
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith(f'DPoP realm="{API}", error="invalid_token"')
        assert "Bearer" not in reply.headers["www-authenticate"]
        assert (await api.get("/", headers=_shown(await _token(server)))).status_code == 200


@pytest.mark.rfc(9449, "8.2")
async def test_nonce_ends(demanding: Server) -> None:
    """It is taken in the window that it was given out in and in the next one; then there is another."""
    nonce = (await _ask(demanding)).headers["dpop-nonce"]
    demanding.clock.now += dpop.NONCE_SECONDS
    good = await _ask(demanding, _proof(nonce=nonce))
    assert (good.status_code, good.headers["dpop-nonce"] == nonce) == (200, False)
    demanding.clock.now += dpop.NONCE_SECONDS
    assert refusal(await _ask(demanding, _proof(nonce=nonce))) == (400, "use_dpop_nonce")


@pytest.mark.rfc(9449, "8")
async def test_nonce_costs_bearer_clients_nothing(demanding: Server) -> None:
    reply = await demanding.post(demanding.form())
    assert (reply.status_code, reply.json()["token_type"], "dpop-nonce" in reply.headers) == (200, "Bearer", False)


@pytest.mark.rfc(9449, "9")
async def test_api_gives_nonces_of_its_own(server: Server) -> None:
    token = await _token(server)
    async with guarded(server, nonce_key=bytes(16)) as api:
        reply = await api.get("/", headers=_shown(token))
        assert (reply.status_code, reply.json()["error"]) == (401, "use_dpop_nonce")
        assert reply.headers["www-authenticate"].startswith(f'DPoP realm="{API}", error="use_dpop_nonce"')
        shown = _shown(token, nonce=reply.headers["dpop-nonce"])
        assert (await api.get("/", headers=shown)).status_code == 200


@pytest.mark.rfc(9449, "8.2")
@pytest.mark.rfc(9449, "9")
async def test_api_gives_the_next_nonce_in_time(server: Server) -> None:
    """With an answer of 200 that is not cached, so that no request has to be sent twice."""
    token = await _token(server)
    async with guarded(server, nonce_key=bytes(16)) as api:
        nonce = (await api.get("/", headers=_shown(token))).headers["dpop-nonce"]
        reply = await api.get("/", headers=_shown(token, nonce=nonce))
        assert (reply.status_code, "dpop-nonce" in reply.headers, "cache-control" in reply.headers) == (
            200,
            False,
            False,
        )
        for _ in range(3):
            server.clock.now += 200  # a nonce is given out for 300 seconds
            reply = await api.get("/", headers=_shown(token, nonce=nonce, now=server.clock.now))
            assert reply.status_code == 200
            assert reply.headers.get("cache-control") == ("no-store" if "dpop-nonce" in reply.headers else None)
            nonce = reply.headers.get("dpop-nonce", nonce)
