"""RFC 8414, metadata: what the server publishes, and what a client may believe. RFC 7517: the keys it names."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from authlib.oidc.discovery import OpenIDProviderMetadata
from tests.rfc.conftest import API, OTHER_API, running

from affiant.jose import base64url, compact
from affiant.oauth import metadata
from affiant.server.keys import signing_keys
from affiant.server.keys.vault import Vault
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, NOW, Server

WELL_KNOWN = "/.well-known/oauth-authorization-server"


async def _document(server: Server) -> dict[str, Any]:
    reply = await server.http.get(WELL_KNOWN)
    assert reply.status_code == 200
    members: dict[str, Any] = reply.json()
    return members


@pytest.mark.rfc(8414, "3.2")
async def test_document_is_json_with_status_200(server: Server) -> None:
    reply = await server.http.get(WELL_KNOWN)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert isinstance(reply.json(), dict)


@pytest.mark.rfc(8414, "3.1")
async def test_issuer_path_after_well_known() -> None:
    """The well-known string is inserted between host and path."""
    issuer = f"{ISSUER}/tenant/one"
    async with running(MemoryStore(), issuer=issuer) as server:
        reply = await server.http.get(f"{ISSUER}{WELL_KNOWN}/tenant/one")
        document = reply.json()
        assert document["issuer"] == issuer
        for name in ("token_endpoint", "jwks_uri"):
            assert document[name].startswith(f"{issuer}/")
        assert (await server.http.get(document["jwks_uri"])).status_code == 200
        assert (await server.http.post(document["token_endpoint"], data={"grant_type": "x"})).status_code == 400
        assert (await server.http.get(f"{ISSUER}{WELL_KNOWN}")).status_code == 404


@pytest.mark.rfc(8414, "3.3")
@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://AS.example", "https://evil.example", "", None, 1, [ISSUER]])
async def test_metadata_of_another_issuer(server: Server, issuer: object) -> None:
    """If the values are not identical, the data MUST NOT be used."""
    document = {**await _document(server), "issuer": issuer}
    with pytest.raises(ValueError, match="another issuer"):
        metadata.parse(json.dumps(document).encode(), issuer=ISSUER)


@pytest.mark.rfc(8414, "2")
@pytest.mark.parametrize(
    "issuer",
    [
        "http://as.example",
        "https://as.example?x=1",
        "https://as.example?",
        "https://as.example#x",
        "https://as.example#",
        "as.example",
        "",
        "https://",
        "ftp://as.example",
        "https://user@as.example",
    ],
)
def test_impossible_issuer(issuer: str) -> None:
    """A URL with the https scheme, without query and fragment."""
    with pytest.raises(ValueError, match=r"issuer|Invalid"):
        metadata.check_issuer(issuer)


@pytest.mark.rfc(8414, "2")
@pytest.mark.parametrize(
    "issuer",
    [
        "https://as.example\n",
        " https://as.example",
        "https://as.exa\tmple",
        'https://as.example/"x',
        "https://as.example/a b",
        "https://\u00e4s.example",
        "https://as.example:port",
    ],
)
def test_issuer_has_characters_of_url(issuer: str) -> None:
    """It stands in headers and is compared as a string: a line end or a quote in it must not get so far."""
    with pytest.raises(ValueError, match="issuer"):
        metadata.check_issuer(issuer)


@pytest.mark.rfc(7009, "2")
@pytest.mark.rfc(8414, "2")
@pytest.mark.rfc(8414, "3.3")
async def test_every_url_is_below_the_issuer(server: Server) -> None:
    """With a JWT method the algorithms are REQUIRED, at each endpoint."""
    document = await _document(server)
    urls = {name: value for name, value in document.items() if isinstance(value, str) and "://" in value}
    paths = {"token": "token", "introspection": "introspect", "revocation": "revoke", "registration": "register"}
    endpoints = {
        f"{name}_endpoint": f"{ISSUER}/{path}" for name, path in (paths | {"client_keys": "client-keys"}).items()
    }
    assert {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks", **endpoints}.items() <= urls.items()
    assert all(value == ISSUER or value.startswith(f"{ISSUER}/") for value in urls.values())
    for told in ("endpoint_auth_methods_supported", "endpoint_auth_signing_alg_values_supported"):
        assert document[f"introspection_{told}"] == document[f"revocation_{told}"] == document[f"token_{told}"] != []


@pytest.mark.rfc(8414, "2")
async def test_every_listed_grant_is_known(server: Server) -> None:
    for name in (await _document(server))["grant_types_supported"]:
        reply = await server.post({"grant_type": name})
        assert reply.json()["error"] != "unsupported_grant_type"


@pytest.mark.rfc(8414, "2")
async def test_every_listed_method_authenticates(server: Server) -> None:
    methods = (await _document(server))["token_endpoint_auth_methods_supported"]
    assert sorted(methods) == ["client_secret_basic", "client_secret_jwt", "client_secret_post", "private_key_jwt"]


@pytest.mark.rfc(8414, "2")
async def test_signing_algorithms_are_listed_without_none(server: Server) -> None:
    """REQUIRED with a JWT method; RS256 SHOULD be supported; none MUST NOT be used."""
    algorithms = (await _document(server))["token_endpoint_auth_signing_alg_values_supported"]
    assert {"RS256", "ES256", "Ed25519", "HS256"} <= set(algorithms)
    assert not [name for name in algorithms if name.lower() == "none"]
    assert len(set(algorithms)) == len(algorithms)


@pytest.mark.rfc(9864, "4")
async def test_specific_algorithm_name_first(server: Server) -> None:
    algorithms = (await _document(server))["token_endpoint_auth_signing_alg_values_supported"]
    assert algorithms.index("Ed25519") < algorithms.index("EdDSA")


@pytest.mark.rfc(8414, "3.2")
async def test_no_optional_member_is_empty(server: Server) -> None:
    """Claims with zero elements MUST be omitted; response_types_supported is REQUIRED all the same, and is empty."""
    document = await _document(server)
    assert [name for name, value in document.items() if value in (None, [], "")] == ["response_types_supported"]


@pytest.mark.rfc(8414, "3.2")
async def test_unavailable_algorithm_is_omitted(server: Server) -> None:
    """As long as there is no key that signs, no algorithm is told, and no empty list of them."""
    await server.store.signing_keys.change(lambda made: [replace(key, removed_at=NOW) for key in made])
    assert "introspection_signing_alg_values_supported" not in await _document(server)


@pytest.mark.rfc(8414, "3")
async def test_openid_place_has_same_document(server: Server) -> None:
    other = (await server.http.get("/.well-known/openid-configuration")).json()
    assert other == await _document(server)


LISTED = "id_token_signing_alg_values_supported"


async def test_algorithms_are_those_of_the_tokens(server: Server) -> None:
    """OpenID Connect Discovery 3, for relying parties that verify access tokens with it: no algorithm too many."""
    assert (await _document(server))[LISTED] == ["ES256"]
    await server.store.apis.update(OTHER_API, lambda api: replace(api, signing_alg="RS256"))
    await server.add_client("c2", resources=(API, OTHER_API), scope=("read", "other.read"))
    tokens = [await server.token("c2", resource=api) for api in (API, OTHER_API)]
    signed = {compact.parse(token["access_token"]).alg for token in tokens}
    assert (await _document(server))[LISTED] == sorted(signed) == ["ES256", "RS256"]


async def test_openid_readers_that_want_rs256(server: Server) -> None:
    """Authlib checks this rule for OpenID providers: what passes it is a key for RS256, and not a promise."""
    with pytest.raises(ValueError, match="RS256"):
        OpenIDProviderMetadata(await _document(server)).validate_id_token_signing_alg_values_supported()
    await signing_keys.ensure(server.store, Vault(server.master_key), now=NOW, line="RS256")
    OpenIDProviderMetadata(await _document(server)).validate_id_token_signing_alg_values_supported()


@pytest.mark.rfc(8414, "5")
@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", ["http://as.example/x", "/token", "", None, 1, "javascript:alert(1)", "https://"])
async def test_endpoint_without_https(server: Server, name: str, url: object) -> None:
    document = {**await _document(server), name: url}
    with pytest.raises(ValueError, match=name):
        metadata.parse(json.dumps(document).encode(), issuer=ISSUER)


# RFC 7517: the JWK Set


@pytest.mark.rfc(7517, "4.1")
@pytest.mark.rfc(7517, "5")
@pytest.mark.rfc(7638, "3")
async def test_published_key(server: Server) -> None:
    """Kty MUST be there; kid and alg, so that a verifier can choose; nothing private. The kid is the thumbprint."""
    reply = await server.http.get((await _document(server))["jwks_uri"])
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert list(reply.json()) == ["keys"]
    (key,) = reply.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg"}
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
    required = {name: key[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()
    assert key["kid"] == base64url.encode(sha256(canonical).digest())
