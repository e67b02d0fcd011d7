"""RFC 7591: a client registers itself, and is told exactly what it is registered with."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.rfc.conftest import API, OTHER_API, running
from tests.rfc.registering import (
    MINE,
    NEXT,
    PUBLISHER,
    PUBLISHER_ISSUER,
    invite,
    jwks,
    metadata,
    refused,
    register,
    registered,
    statement,
)
from tests.rsa_keys import rsa_key

from affiant.jose import compact, keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import SecretKey
from affiant.server.request.certificate import Certificates
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, NOW, Server, basic

GIVEN = {"client_id", "client_id_issued_at", "registration_access_token", "registration_client_uri"}
DEFAULTS = {
    "response_types": [],
    "dpop_bound_access_tokens": False,
    "tls_client_certificate_bound_access_tokens": False,
}
DESCRIBED = {
    "client_uri": "https://billing.example/about?x=1",
    "contacts": ["ops@billing.example", "on call"],
    "software_id": "4NRB1-0XZABZI9E6-5SM3R",
    "software_version": "2.1",
}


@pytest.fixture
async def trusting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server that trusts the publisher's software statements."""
    issuers = {PUBLISHER_ISSUER: KeySet((PUBLISHER.public(),))}
    async with running(MemoryStore(), software_statement_issuers=issuers) as made:
        yield made


@pytest.mark.rfc(7591, "3.2.1")
async def test_registration_answer(server: Server) -> None:
    """The server MUST return all registered metadata, incl. what it provisioned itself."""
    sent = metadata(**DESCRIBED, token_endpoint_auth_signing_alg="ES256", dpop_bound_access_tokens=True)
    reply = await register(server, sent)
    assert reply.status_code == 201
    assert reply.headers["content-type"] == "application/json"
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    told = reply.json()
    assert {name: value for name, value in told.items() if name not in GIVEN} == {**DEFAULTS, **sent}
    assert told["client_id_issued_at"] == NOW
    assert told["registration_client_uri"] == f"{ISSUER}/register/{told['client_id']}"
    stored = await server.store.clients.find(told["client_id"])
    assert stored is not None
    assert stored.registration_token == server.master_key.digest(told["registration_access_token"])
    assert {key.source for key in stored.keys} == {"registration"}


@pytest.mark.rfc(7591, "3.2.1")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
async def test_secret_is_shown_once(server: Server, method: str) -> None:
    """client_secret_expires_at is REQUIRED if client_secret is issued."""
    client = await registered(server, token_endpoint_auth_method=method, jwks=None)
    assert client.told["client_secret_expires_at"] == 0
    assert len(client.told["client_secret"]) >= 43
    shown = (await client.read()).json()
    assert "client_secret" not in shown
    assert "client_secret_expires_at" not in shown


async def test_secret_works(server: Server) -> None:
    client = await registered(server, token_endpoint_auth_method=None, jwks=None)
    assert client.told["token_endpoint_auth_method"] == "client_secret_basic"  # section 2: the default
    headers = basic(client.client_id, client.told["client_secret"])
    assert (await server.post({"grant_type": "client_credentials"}, headers=headers)).status_code == 200
    mac = await registered(server, token_endpoint_auth_method="client_secret_jwt", jwks=None)
    assert mac.told["token_endpoint_auth_signing_alg"] == "HS256"
    key = SecretKey(mac.told["client_secret"].encode())
    assertion = server.assertion(mac.client_id, key=key)
    assert (await server.post(server.form(assertion))).status_code == 200


@pytest.mark.rfc(7591, "2")
@pytest.mark.rfc(7591, "3.2.1")
async def test_omitted_members_get_defaults(server: Server) -> None:
    """The authorization code grant, which would be the default, is not to be had here."""
    client = await registered(server, grant_types=None, scope=None, client_name=None)
    assert client.told["grant_types"] == ["client_credentials"]
    assert client.told["scope"] == (await client.ask()).json()["scope"] == "read write"
    assert "client_name" not in client.told


@pytest.mark.rfc(7591, "2")
async def test_jwks_uri_is_registered_instead(server: Server) -> None:
    client = await registered(server, jwks=None, jwks_uri="https://billing.example/jwks")
    assert client.told["jwks_uri"] == "https://billing.example/jwks"
    assert "jwks" not in client.told


@pytest.mark.rfc(7591, "3")
async def test_resources_of_the_invitation(server: Server) -> None:
    reply = await register(server, token=await invite(server, resources=(API, OTHER_API)))
    stored = await server.store.clients.find(reply.json()["client_id"])
    assert stored is not None
    assert stored.resources == (API, OTHER_API)


@pytest.mark.rfc(6750, "3.1")
async def test_several_tokens_are_refused(server: Server) -> None:
    token = await invite(server)
    headers = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    reply = await server.http.post("/register", json=metadata(), headers=headers)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


async def test_empty_and_null_are_absent(server: Server) -> None:
    sent = {**metadata(redirect_uris=[], response_types=[]), "contacts": None}
    reply = await register(server, sent)
    assert reply.status_code == 201
    assert "contacts" not in reply.json()


@pytest.mark.rfc(9396, "10")
async def test_types_are_registered_within_token(server: Server) -> None:
    token = await invite(server, types=("payment", "account"))
    reply = await register(server, metadata(authorization_details_types=["payment"]), token=token)
    assert (reply.status_code, reply.json()["authorization_details_types"]) == (201, ["payment"])


@pytest.mark.rfc(7591, "2.3")
async def test_software_statement_takes_precedence(trusting: Server) -> None:
    """Section 3.1.1: its values MUST take precedence over those sent plainly; section 3.2.1: it is returned as it is."""
    said = statement(client_name="Billing by Publisher", scope="read", jwks=jwks(NEXT), roles=["admin"])
    client = await registered(trusting, software_statement=said, client_name="Mine", scope="read write")
    assert client.told["software_statement"] == said
    assert (client.told["client_name"], client.told["scope"]) == ("Billing by Publisher", "read")
    assert (client.told["software_id"], client.told["jwks"]) == ("billing", jwks(NEXT))
    assert "roles" not in client.told
    assert "iss" not in client.told
    assert (await client.read()).json() == client.told
    assert (await client.ask(NEXT)).status_code == 200


@pytest.mark.rfc(7591, "2.3")
@pytest.mark.parametrize(
    "text",
    [
        statement(MINE),  # by another key
        statement(PUBLISHER)[:-4] + "AAAA",
        statement(iss=None),
        statement(iss=1),
        statement(exp=NOW - 60),
        statement(exp="soon"),
        statement(nbf=NOW + 60),
        statement(iat=NOW + 60),
        statement(aud="https://other.example"),
        statement(aud=[]),
        statement(header={"typ": "at+jwt"}),
        statement(header={"typ": "client-authentication+jwt"}),
        "a.b.c",
    ],
)
async def test_bad_software_statement(trusting: Server, text: str) -> None:
    assert await refused(trusting, metadata(software_statement=text)) == "invalid_software_statement"


@pytest.mark.rfc(7591, "2.3")
async def test_mac_does_not_verify_a_statement(trusting: Server) -> None:
    mac = SecretKey(PUBLISHER.public().jwk["x"].encode(), "HS256", PUBLISHER.kid)
    text = compact.sign({}, {"iss": PUBLISHER_ISSUER}, mac)
    assert await refused(trusting, metadata(software_statement=text)) == "invalid_software_statement"


@pytest.mark.rfc(7591, "3.2.2")
async def test_statement_of_an_unknown_issuer(trusting: Server) -> None:
    text = statement(iss="https://evil.example")
    assert await refused(trusting, metadata(software_statement=text)) == "unapproved_software_statement"


@pytest.mark.parametrize("claims", [{"exp": NOW + 60, "nbf": NOW, "iat": NOW}, {"aud": ISSUER}, {"aud": ["x", ISSUER]}])
async def test_statement_with_time_and_audience(trusting: Server, claims: dict[str, Any]) -> None:
    reply = await register(trusting, metadata(software_statement=statement(**claims)))
    assert reply.status_code == 201, reply.text


async def test_statement_gives_no_more_than_token(trusting: Server) -> None:
    text = statement(scope="read admin")
    assert await refused(trusting, metadata(software_statement=text)) == "invalid_client_metadata"


async def test_disabled_method_cannot_be_registered() -> None:
    async with running(MemoryStore(), auth_methods=("private_key_jwt",)) as server:
        sent = metadata(token_endpoint_auth_method="client_secret_basic", jwks=None)
        assert await refused(server, sent) == "invalid_client_metadata"
        assert (await register(server)).status_code == 201


@pytest.mark.rfc(8705, "2.1.2")
async def test_certificate_method_needs_certificates(server: Server) -> None:
    changes = {"token_endpoint_auth_method": "tls_client_auth", "jwks": None, "tls_client_auth_san_dns": "b.example"}
    assert await refused(server, metadata(**changes)) == "invalid_client_metadata"
    async with running(MemoryStore(), certificates=Certificates(own_tls=True)) as other:
        client = await registered(other, **changes, tls_client_certificate_bound_access_tokens=True)
        assert client.told["tls_client_auth_san_dns"] == "b.example"
        stored = await other.store.clients.find(client.client_id)
        assert stored is not None
        assert stored.tls_subject == ("tls_client_auth_san_dns", "b.example")
        reply = await client.replace(**{**changes, "tls_client_auth_san_dns": "c.example"})
        told = reply.json()
        assert (told["tls_client_auth_san_dns"], told["tls_client_certificate_bound_access_tokens"]) == (
            "c.example",
            True,
        )


async def test_client_ids_are_unguessable(server: Server) -> None:
    names = {(await registered(server)).client_id for _ in range(5)}
    assert len(names) == 5
    assert all(name.isascii() and len(name) == 31 for name in names)


async def test_mldsa_and_rsa_keys_are_registered(server: Server) -> None:
    for alg in ("ML-DSA-44", "PS256"):
        key = keys.generate(alg)
        client = await registered(server, jwks=jwks(key), token_endpoint_auth_signing_alg=alg)
        assert (await client.ask(key)).status_code == 200


STRANGE: list[dict[str, Any]] = [
    {"kty": "RSA", "use": "enc", "alg": "RSA-OAEP-256", "n": "AQAB", "e": "AQAB", "kid": "enc"},
    {"kty": "XYZ", "kid": "new"},
    {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k1"},
]


@pytest.mark.rfc(7517, "5")
@pytest.mark.parametrize("odd", STRANGE)
async def test_keys_for_another_use_are_left_out(server: Server, odd: dict[str, Any]) -> None:
    """Section 2: the set MAY have keys for encryption."""
    mine = MINE.public().to_jwk()
    client = await registered(server, jwks={"keys": [odd, mine]})
    assert client.told["jwks"] == {"keys": [mine]}
    (left_out,) = client.told["jwks_left_out"]
    assert left_out.startswith(f'key 1 ("{odd["kid"]}") of the JWK Set: ')
    assert (await client.ask()).status_code == 200
    assert "jwks_left_out" not in (await client.read()).json()
    replaced = await client.replace(jwks={"keys": [mine, odd]})
    assert replaced.status_code == 200
    assert replaced.json()["jwks_left_out"][0].startswith("key 2 ")
    rows = [json.loads(row.record) for row in await server.store.audit_log.export()]
    details = [row.get("detail", "") for row in rows if row["outcome"] in ("registered", "replaced")]
    assert [detail.partition("key")[0] for detail in details] == ["left out: ", "left out: "]


@pytest.mark.rfc(7517, "4.5")
async def test_one_key_under_two_kids(server: Server) -> None:
    """Directories publish an RSA key once for RS256 and once for PS256; it is used by either name."""
    rsa = rsa_key()
    named = [{**rsa.public().to_jwk(), "alg": alg, "kid": alg.lower()} for alg in ("RS256", "PS256")]
    client = await registered(server, jwks={"keys": named})
    assert client.told["jwks"] == {"keys": named}
    for alg in ("RS256", "PS256"):
        bare = {name: value for name, value in rsa.to_jwk().items() if name != "alg"}
        signer = keys.parse_private_jwk({**bare, "kid": alg.lower()}, alg=alg)
        assert (await client.ask(signer)).status_code == 200
        wrong = keys.parse_private_jwk({**bare, "kid": alg.lower()}, alg="RS512")
        assert (await client.ask(wrong)).status_code == 401
