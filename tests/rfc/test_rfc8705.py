"""RFC 8705: mutual TLS. A proxy at 10.0.0.1 ends TLS here, and tells the certificate as RFC 9440 says."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.certificates import DN, Made, make
from tests.rfc.conftest import API, guarded, refusal, running

from affiant.errors import ConfigError
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import ProofKey
from affiant.oauth.binding.forwarded import Proxies
from affiant.server.request.certificate import PEER, Certificates
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, KEY, NOW, Server

PROXY = "10.0.0.1"
CERTIFICATES = Certificates(Proxies.parse(PROXY))
NAMED = make(dns=("svc.example",), uri=("spiffe://example/svc",), ip=("192.0.2.7",), email=("svc@example.com",))
SELF, OTHER = make(dn="CN=self"), make(dn="CN=other")
SUBJECTS = {
    "tls_client_auth_subject_dn": DN,
    "tls_client_auth_san_dns": "svc.example",
    "tls_client_auth_san_uri": "spiffe://example/svc",
    "tls_client_auth_san_ip": "192.0.2.7",
    "tls_client_auth_san_email": "svc@example.com",
}


@asynccontextmanager
async def behind(server: Server, peer: str | None) -> AsyncIterator[httpx2.AsyncClient]:
    """A connection to the server from this address."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await server.app({**scope, PEER: peer}, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=ISSUER) as http:
        yield http


@pytest.fixture
async def meshed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server behind the proxy, with a client of each method."""
    async with running(MemoryStore(), certificates=CERTIFICATES) as server, behind(server, PROXY) as http:
        server.http = http
        await server.add_client("c1")
        await server.add_client("bound", tls_client_certificate_bound_access_tokens=True)
        await server.add_client("named", "tls_client_auth", tls_subject=("tls_client_auth_san_dns", "svc.example"))
        await server.add_client("self", "self_signed_tls_client_auth", keys=(SELF.public, make().public))
        await server.add_client(
            "refreshing",
            "self_signed_tls_client_auth",
            keys=(SELF.public,),
            grant_types=("client_credentials", "refresh_token"),
        )
        yield server


def form(client_id: str, **parameters: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_id": client_id, **parameters}


async def ask(server: Server, client_id: str, certificate: Made | None, **parameters: str) -> httpx2.Response:
    headers = {"Client-Cert": certificate.text} if certificate else {}
    return await server.post(form(client_id, **parameters), headers=headers)


async def claims(reply: httpx2.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    return compact.parse(reply.json()["access_token"]).claims


async def reason(server: Server) -> str:
    rows = await server.store.audit_log.export(limit=1000)
    found: str = json.loads(rows[-1].record)["reason"]
    return found


@pytest.mark.rfc(8705, "2.1")
@pytest.mark.parametrize("member", SUBJECTS)
async def test_certificate_name_of_the_client(meshed: Server, member: str) -> None:
    await meshed.add_client("by-name", "tls_client_auth", tls_subject=(member, SUBJECTS[member]))
    token = await claims(await ask(meshed, "by-name", NAMED))
    assert (token["client_id"], token["client_key"]) == ("by-name", NAMED.thumbprint)
    reply = await ask(meshed, "by-name", OTHER)
    assert refusal(reply) == (401, "invalid_client")
    assert await reason(meshed) == Reason.CERTIFICATE.code


@pytest.mark.rfc(8705, "2")
async def test_client_id_is_required(meshed: Server) -> None:
    reply = await meshed.post({"grant_type": "client_credentials"}, headers={"Client-Cert": NAMED.text})
    assert refusal(reply) == (401, "invalid_client")


@pytest.mark.rfc(8705, "2.1.2")
@pytest.mark.rfc(8705, "2.2.2")
async def test_exactly_one_name_is_registered(meshed: Server) -> None:
    """Or, for a self-signed certificate, the certificate itself."""
    for method, subject in (("tls_client_auth", None), ("private_key_jwt", ("tls_client_auth_san_dns", "svc.example"))):
        with pytest.raises(ConfigError, match="tls_client_auth needs one name of the certificate"):
            await meshed.add_client("wrong", method, tls_subject=subject)
    with pytest.raises(ConfigError, match="x5c"):
        await meshed.add_client("bare", "self_signed_tls_client_auth", keys=(KEY.public(),))


@pytest.mark.rfc(8705, "3")
@pytest.mark.rfc(8705, "3.1")
@pytest.mark.parametrize(("client_id", "certificate"), [("named", NAMED), ("self", SELF)])
async def test_token_is_bound_to_certificate(meshed: Server, client_id: str, certificate: Made) -> None:
    reply = await ask(meshed, client_id, certificate)
    assert reply.json()["token_type"] == "Bearer"
    assert (await claims(reply))["cnf"] == {"x5t#S256": certificate.thumbprint}


@pytest.mark.rfc(8705, "3.4")
async def test_bound_client_needs_a_certificate(meshed: Server) -> None:
    """Whatever it authenticates by."""
    signed: dict[str, Any] = {"iss": "bound", "sub": "bound"}
    reply = await meshed.post(meshed.form(meshed.assertion(**signed)))
    assert refusal(reply) == (400, "invalid_request")
    assert await reason(meshed) == Reason.CERTIFICATE_MISSING.code
    reply = await meshed.post(meshed.form(meshed.assertion(**signed)), headers={"Client-Cert": OTHER.text})
    token = await claims(reply)
    assert token["cnf"] == {"x5t#S256": OTHER.thumbprint}
    assert token["client_key"] == KEY.public().thumbprint


@pytest.mark.rfc(8705, "3")
@pytest.mark.rfc(8693, "5")
async def test_an_exchanged_token_is_bound_to_the_certificate_of_its_requester(meshed: Server) -> None:
    """A bound token becomes a token that is bound to the certificate of the API that exchanges it."""
    grants = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)
    await meshed.add_client(
        "api", "self_signed_tls_client_auth", keys=(SELF.public,), introspects=(API,), grant_types=grants
    )
    bound = (await ask(meshed, "named", NAMED)).json()["access_token"]
    sent = {"subject_token": bound, "subject_token_type": names.ACCESS_TOKEN_TOKEN_TYPE}
    found = await claims(await ask(meshed, "api", SELF, **{"grant_type": names.TOKEN_EXCHANGE, **sent}))
    assert (found["sub"], found["cnf"]) == ("named", {"x5t#S256": SELF.thumbprint})


@pytest.mark.rfc(8705, "3")
async def test_certificate_binds_an_assertion_request(meshed: Server) -> None:
    reply = await meshed.post(meshed.form(), headers={"Client-Cert": NAMED.text})
    assert "cnf" not in await claims(reply)


@pytest.mark.rfc(8705, "7.1")
async def test_refresh_needs_client_and_binds_anew(meshed: Server) -> None:
    first = (await ask(meshed, "refreshing", SELF)).json()
    again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    reply = await ask(meshed, "refreshing", OTHER, **again)
    assert refusal(reply) == (401, "invalid_client")
    reply = await ask(meshed, "refreshing", SELF, **again)
    assert (await claims(reply))["cnf"] == {"x5t#S256": SELF.thumbprint}


@pytest.mark.rfc(8705, "3.2")
async def test_introspection_has_x5t(meshed: Server) -> None:
    await meshed.add_client("api", introspects=(API,))
    token = (await ask(meshed, "named", NAMED)).json()["access_token"]
    asked = {**meshed.form(meshed.assertion(iss="api", sub="api")), "token": token}
    del asked["grant_type"]
    told = (await meshed.http.post("/introspect", data=asked)).json()
    assert (told["active"], told["cnf"], told["token_type"]) == (True, {"x5t#S256": NAMED.thumbprint}, "Bearer")


@pytest.mark.rfc(8705, "3.3")
async def test_metadata_with_certificates(meshed: Server, server: Server) -> None:
    with_tls = (await meshed.http.get("/.well-known/oauth-authorization-server")).json()
    without = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    methods = {"tls_client_auth", "self_signed_tls_client_auth"}
    assert with_tls["tls_client_certificate_bound_access_tokens"] is True
    assert methods <= set(with_tls["token_endpoint_auth_methods_supported"])
    assert "tls_client_certificate_bound_access_tokens" not in without
    assert not methods & set(without["token_endpoint_auth_methods_supported"])


@pytest.mark.rfc(8705, "5")
async def test_mtls_endpoint_aliases() -> None:
    async with running(MemoryStore(), certificates=CERTIFICATES, mtls_url="https://mtls.as.example") as server:
        members = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    aliases = members["mtls_endpoint_aliases"]
    assert aliases["token_endpoint"] == "https://mtls.as.example/token"
    assert aliases["introspection_endpoint"] == "https://mtls.as.example/introspect"
    assert {name for name in members if name.endswith("_endpoint")} == set(aliases)


@pytest.mark.rfc(8705, "5")
@pytest.mark.rfc(9449, "4.3")
@pytest.mark.parametrize(
    ("htu", "status"),
    [
        (f"{ISSUER}/token", 200),
        ("https://mtls.as.example/token", 200),
        ("https://MTLS.as.example:443/x/../token", 200),
        ("https://evil.example/token", 400),  # what the header Host says
        ("https://mtls.as.example/introspect", 400),
        ("https://mtls.as.example", 400),
        ("http://mtls.as.example/token", 400),
        ("https://mtls.as.example:444/token", 400),
    ],
)
async def test_proof_names_endpoint_or_its_alias(monkeypatch: pytest.MonkeyPatch, htu: str, status: int) -> None:
    """Both are the URL of the request, and no other is, whatever host the request names."""
    here = running(MemoryStore(), certificates=CERTIFICATES, mtls_url="https://mtls.as.example")
    async with here as server, behind(server, PROXY) as http:
        server.http = http
        await server.add_client("c1")
        proof = dpop.build(ProofKey.of(KEY), method="POST", url=htu, now=NOW)
        reply = await server.post(server.form(), headers={"dpop": proof, "host": "evil.example"})
        assert (reply.status_code, reply.json().get("error")) == (
            status,
            None if status == 200 else "invalid_dpop_proof",
        )
        if status != 200:
            assert f"{ISSUER}/token or https://mtls.as.example/token" in reply.json()["error_description"]


@pytest.mark.rfc(9449, "4.3")
async def test_without_alias_there_is_one_url(meshed: Server) -> None:
    proof = dpop.build(ProofKey.of(KEY), method="POST", url="https://mtls.as.example/token", now=NOW)
    assert refusal(await meshed.post(meshed.form(), headers={"dpop": proof})) == (400, "invalid_dpop_proof")


@pytest.mark.rfc(5280, "4.1.2.5")
@pytest.mark.parametrize("away", [-3601, 86_401])
async def test_certificate_outside_its_validity(meshed: Server, away: int) -> None:
    meshed.clock.now = NOW + away
    for client_id, certificate in (("named", NAMED), ("self", SELF)):
        assert refusal(await ask(meshed, client_id, certificate)) == (401, "invalid_client")
        assert await reason(meshed) == Reason.CERTIFICATE_TIME.code


@pytest.fixture
async def api(meshed: Server) -> AsyncIterator[httpx2.AsyncClient]:
    """An API behind the same proxy."""
    async with guarded(meshed, need=("read",), peer=PROXY, certificate_proxies=[PROXY]) as http:
        yield http


@pytest.mark.attack(265)
@pytest.mark.rfc(8705, "3")
async def test_api_requires_the_certificate(meshed: Server, api: httpx2.AsyncClient) -> None:
    token = (await ask(meshed, "named", NAMED)).json()["access_token"]
    bearer = {"authorization": f"Bearer {token}"}
    assert (await api.get("/", headers={**bearer, "Client-Cert": NAMED.text})).json()["client_id"] == "named"
    for headers in (bearer, {**bearer, "Client-Cert": OTHER.text}):
        reply = await api.get("/", headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in reply.headers["www-authenticate"]


@pytest.mark.rfc(8705, "3")
async def test_token_bound_twice_needs_both_proofs(meshed: Server, api: httpx2.AsyncClient) -> None:
    key = ProofKey.of(keys.generate("ES256"))

    def proof(url: str, method: str = "GET", token: str | None = None) -> dict[str, str]:
        made = dpop.build(key, method=method, url=url, now=NOW, access_token=token)
        return {"dpop": made}

    sent = {"Client-Cert": NAMED.text, **proof(f"{ISSUER}/token", "POST")}
    members = (await meshed.post(form("named"), headers=sent)).json()
    token = members["access_token"]
    assert members["token_type"] == "DPoP"
    assert compact.parse(token).claims["cnf"] == {"jkt": key.thumbprint, "x5t#S256": NAMED.thumbprint}
    as_dpop, with_certificate = {"authorization": f"DPoP {token}"}, {"Client-Cert": NAMED.text}
    both = {**as_dpop, **with_certificate, **proof(f"{API}/", token=token)}
    assert (await api.get("/", headers=both)).status_code == 200
    for headers in (
        {**as_dpop, **with_certificate},
        {**as_dpop, **proof(f"{API}/", token=token)},
        {**as_dpop, "Client-Cert": OTHER.text, **proof(f"{API}/", token=token)},
        {"authorization": f"Bearer {token}", **with_certificate},
    ):
        reply = await api.get("/", headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_token")


async def test_certificate_of_a_revoked_key(meshed: Server) -> None:
    await claims(await ask(meshed, "self", SELF))

    def revoke(client: Any) -> Any:
        return replace(client, keys=tuple(replace(key, revoked_at=NOW) for key in client.keys))

    await meshed.store.clients.update("self", revoke)
    assert refusal(await ask(meshed, "self", SELF)) == (401, "invalid_client")
