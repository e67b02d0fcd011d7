"""RFC 9728: what an API publishes of itself."""

import json
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from tests.rfc.conftest import API

from affiant.errors import ConfigError
from affiant.resource import Guard, GuardMiddleware, ResourceMetadata
from affiant.testing import ISSUER, Server

WELL_KNOWN = "/.well-known/oauth-protected-resource"
TOLD = ResourceMetadata(scopes=("read",), name="Orders", documentation="https://docs.example/orders")


def _http(**options: Any) -> httpx2.AsyncClient:
    """An API with nothing in it, behind a guard."""
    guard = Guard(ISSUER, **{"audience": API, "metadata": TOLD, **options})
    transport = httpx2.ASGITransport(app=GuardMiddleware(Starlette(), guard))
    return httpx2.AsyncClient(transport=transport, base_url=API)


@pytest.mark.rfc(9728, "3.1")
@pytest.mark.parametrize(
    ("audience", "path"),
    [
        ("https://api.example", WELL_KNOWN),
        ("https://api.example/", WELL_KNOWN),
        ("https://api.example/v1/orders", f"{WELL_KNOWN}/v1/orders"),
        ("https://api.example:8443/mcp", f"{WELL_KNOWN}/mcp"),
    ],
)
async def test_well_known_between_host_and_path(audience: str, path: str) -> None:
    async with _http(audience=audience) as http:
        reply = await http.get(path)
        assert reply.status_code == 200
        assert reply.json()["resource"] == audience  # section 3.3: identical, or it is not believed
        assert (await http.get(f"{path}/x")).status_code == 401


@pytest.mark.rfc(9728, "2")
async def test_members(server: Server) -> None:
    async with _http() as http:
        reply = await http.get(WELL_KNOWN)
    document = reply.json()
    assert reply.headers["content-type"] == "application/json"
    assert document["authorization_servers"] == [ISSUER]
    assert document["scopes_supported"] == ["read"]
    assert document["bearer_methods_supported"] == ["header"]
    assert (document["resource_name"], document["resource_documentation"]) == ("Orders", TOLD.documentation)
    assert {"ES256", "Ed25519"} <= set(document["dpop_signing_alg_values_supported"])
    assert "none" not in json.dumps(document)
    assert "dpop_bound_access_tokens_required" not in document


@pytest.mark.rfc(9728, "3.2")
async def test_empty_members_are_left_out() -> None:
    """Claims with zero elements MUST be omitted."""
    async with _http(metadata=ResourceMetadata(), dpop="required") as http:
        document = (await http.get(WELL_KNOWN)).json()
    assert not {"scopes_supported", "resource_name", "resource_documentation"} & set(document)
    assert document["dpop_bound_access_tokens_required"] is True


@pytest.mark.rfc(9728, "3.1")
async def test_metadata_allow_any_origin() -> None:
    """After a preflight: a client of MCP in a browser sends MCP-Protocol-Version. Nothing else answers a preflight."""
    asked = {
        "origin": "https://inspector.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "mcp-protocol-version",
    }
    async with _http() as http:
        preflight = await http.options(WELL_KNOWN, headers=asked)
        assert (preflight.status_code, preflight.content) == (204, b"")
        assert "mcp-protocol-version" in preflight.headers["access-control-allow-headers"].lower()
        head = await http.head(WELL_KNOWN)
        assert (head.status_code, head.content) == (200, b"")
        refused = await http.post(WELL_KNOWN)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        for reply in (preflight, await http.get(WELL_KNOWN, headers=asked)):
            assert reply.headers["access-control-allow-origin"] == "*"
            assert reply.headers["x-content-type-options"] == "nosniff"
        assert (await http.options("/orders", headers=asked)).status_code == 401


@pytest.mark.rfc(9728, "5.1")
async def test_page_may_read_challenge() -> None:
    """Where the API lets its origin read the answer: CORS middleware outside of the guard answers the preflight too."""
    origin = {"origin": "https://inspector.example"}
    guarded = GuardMiddleware(Starlette(), Guard(ISSUER, audience=API, metadata=TOLD))
    app = CORSMiddleware(guarded, allow_origins=[origin["origin"]], allow_headers=["authorization"])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=API) as http:
        asked = {**origin, "access-control-request-method": "GET", "access-control-request-headers": "authorization"}
        assert (await http.options("/orders", headers=asked)).status_code == 200
        reply = await http.get("/orders", headers=origin)
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (401, origin["origin"])
        assert "WWW-Authenticate" in reply.headers["access-control-expose-headers"]
        strange = await http.get("/orders", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in strange.headers


@pytest.mark.rfc(9728, "5.1")
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"authorization": "DPoP x"}])
async def test_challenge_says_where_it_is(headers: dict[str, str]) -> None:
    async with _http() as http:
        reply = await http.get("/orders", headers=headers)
    assert reply.status_code == 401
    assert f'resource_metadata="{API}{WELL_KNOWN}"' in reply.headers["www-authenticate"]


@pytest.mark.rfc(9728, "5.1")
async def test_without_metadata_no_challenge_names_any() -> None:
    async with _http(metadata=None) as http:
        reply = await http.get(WELL_KNOWN)
    assert reply.status_code == 401
    assert "resource_metadata" not in reply.headers["www-authenticate"]


@pytest.mark.rfc(9728, "1.2")
@pytest.mark.parametrize("audience", ["urn:orders", "https://api.example?x=1", "orders", "ftp://api.example"])
def test_api_without_a_url(audience: str) -> None:
    with pytest.raises(ConfigError, match="publishes metadata"):
        Guard(ISSUER, audience=audience, metadata=TOLD)
    Guard(ISSUER, audience=audience)
