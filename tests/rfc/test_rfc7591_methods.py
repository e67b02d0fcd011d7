"""RFC 7591 with certificates (RFC 8705), and at a server that holds every client to FAPI 2.0."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.certificates import Made, make
from tests.rfc.conftest import running
from tests.rfc.registering import MINE, Registered, jwks, metadata, refused, register, registered
from tests.rfc.test_rfc8705 import CERTIFICATES, PROXY, behind
from tests.rsa_keys import rsa_key

from affiant.jose import jwk, keys
from affiant.server.registry.profiles import FAPI_2
from affiant.storage.memory import MemoryStore
from affiant.testing import Server

RSA = rsa_key()


@pytest.fixture
async def taking_certificates(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server whose proxy tells the certificates of clients, of authorities or of none."""
    async with running(MemoryStore(), certificates=CERTIFICATES) as made, behind(made, PROXY) as http:
        made.http = http
        yield made


SELF_SIGNED = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}


def _with_certificates(*made: Made) -> dict[str, Any]:
    return {**SELF_SIGNED, "jwks": {"keys": [one.public.to_jwk() for one in made]}}


async def _ask_by_certificate(client: Registered, made: Made) -> int:
    form = {"grant_type": "client_credentials", "client_id": client.client_id}
    return (await client.server.post(form, headers={"client-cert": made.text})).status_code


@pytest.mark.rfc(8705, "2.2")
async def test_self_signed_certificate_with_its_key(taking_certificates: Server) -> None:
    """By jwks with x5c, which is told and read again as it was sent; that certificate gets tokens, and no other one."""
    assert await refused(taking_certificates, metadata(**SELF_SIGNED)) == "invalid_client_metadata"  # no x5c
    mine, same_key = make(dn="CN=mine"), make(dn="CN=mine")
    sent = _with_certificates(mine)
    client = await registered(taking_certificates, **sent)
    assert client.told["jwks"] == sent["jwks"]
    assert (await client.read()).json() == client.told
    assert await _ask_by_certificate(client, mine) == 200
    assert await _ask_by_certificate(client, make(dn="CN=mine", key=mine.key)) == 401
    assert await _ask_by_certificate(client, same_key) == 401


@pytest.mark.rfc(8705, "2.2")
async def test_certificate_of_another_key(taking_certificates: Server) -> None:
    """RFC 7517 section 4.7: the key in the first certificate MUST match the public key of the other members."""
    mine, other = make(dn="CN=mine"), make(dn="CN=other")
    key = {**mine.public.to_jwk(), "x5c": other.public.to_jwk()["x5c"]}
    assert await refused(taking_certificates, metadata(**SELF_SIGNED, jwks={"keys": [key]})) == (
        "invalid_client_metadata"
    )


@pytest.mark.rfc(7592, "2.2")
async def test_certificate_is_replaced_with_its_key(taking_certificates: Server) -> None:
    old, new = make(dn="CN=old"), make(dn="CN=new")
    client = await registered(taking_certificates, **_with_certificates(old))
    reply = await client.replace(**_with_certificates(old, new))
    assert reply.status_code == 200, reply.text
    assert [await _ask_by_certificate(client, made) for made in (old, new)] == [200, 200]
    assert (await client.replace(**_with_certificates(new))).status_code == 200
    assert [await _ask_by_certificate(client, made) for made in (old, new)] == [401, 200]


@pytest.mark.rfc(7592, "2.2")
async def test_new_certificate_of_a_live_key(taking_certificates: Server) -> None:
    """What would be kept as it was, and never be let in, is refused, and what stood before stays."""
    old = make(dn="CN=old")
    new = make(dn="CN=new", key=old.key)
    client = await registered(taking_certificates, **_with_certificates(old))
    reply = await client.replace(**_with_certificates(new))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_client_metadata")
    assert await _ask_by_certificate(client, old) == 200
    plain = await registered(taking_certificates, jwks={"keys": [jwk.build(old.key.public_key())]})
    reply = await plain.replace(**_with_certificates(old))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 201),
        ({"jwks": jwks(rsa_key("PS256")), "token_endpoint_auth_signing_alg": "PS256"}, 201),
        ({"jwks": jwks(keys.generate("Ed25519"))}, 201),
        (
            {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": _with_certificates(make())["jwks"]},
            201,
        ),
        ({"token_endpoint_auth_method": "tls_client_auth", "jwks": None, "tls_client_auth_san_dns": "b.example"}, 201),
        ({"token_endpoint_auth_method": None, "jwks": None}, 400),  # client_secret_basic
        ({"token_endpoint_auth_method": "client_secret_jwt", "jwks": None}, 400),
        ({"jwks": jwks(keys.generate("ML-DSA-44"))}, 400),
        ({"jwks": jwks(keys.generate("ES384"))}, 400),
        ({"jwks": jwks(MINE, keys.generate("ES512"))}, 400),
        ({"token_endpoint_auth_signing_alg": "RS256", "jwks": jwks(RSA)}, 400),
    ],
)
async def test_fapi_server_registrations(changes: dict[str, Any], status: int) -> None:
    """FAPI 2.0 Security Profile 5.3.2.1 item 6 and 5.4.1 item 1, of new registrations and of replacements alike."""
    async with running(MemoryStore(), demands=FAPI_2, certificates=CERTIFICATES) as server:
        reply = await register(server, metadata(**changes))
        assert reply.status_code == status, reply.text
        assert status == 201 or reply.json()["error"] == "invalid_client_metadata"
        client = await registered(server)
        assert (await client.replace(**changes)).status_code == (200 if status == 201 else 400)


async def test_fapi_applies_to_registered_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens bound to a key of the client's, and to nobody's wish."""
    async with running(MemoryStore(), demands=FAPI_2) as server:
        client = await registered(server, dpop_bound_access_tokens=False)
        reply = await client.ask()
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_dpop_proof")
