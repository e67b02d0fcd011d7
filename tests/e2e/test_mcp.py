"""An agent with the MCP Python SDK gets a token with private_key_jwt and calls a tool behind our guard."""

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import PrivateKeyJWTOAuthProvider, SignedJWTParameters
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from tests.e2e.readers import asked
from tests.loopback import free_port
from tests.platforms import kubernetes
from tests.platforms.issuer import Issuer
from tests.process import Server, uvicorn
from tests.rsa_keys import rsa_2048

from affiant.client import Service
from affiant.jose import compact

KEY = rsa_2048()


class Storage:
    """The token of one agent, in memory."""

    token: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.token

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.token = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError("nothing is registered on the way")


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an authorization endpoint."""
    environment = {"AFFIANT_AUTHORIZATION_ENDPOINT": "on"}
    with Server(tmp_path_factory.mktemp("mcp"), environment=environment) as server:
        yield server


@pytest.fixture(scope="module")
def tools(issuer: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The MCP server's URL (mcp_tools.py)."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    issuer.add_api(url, "--scope", "tools.reset", name="tools", scope="tools.call")
    environment = {"GUARD_ISSUER": issuer.issuer, "GUARD_AUDIENCE": url}
    with uvicorn(tmp_path_factory.mktemp("tools"), "mcp_tools", port, **environment):
        yield url


@pytest.fixture(scope="module")
def verified(issuer: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an MCP server that asks the guard about tokens, and answers itself."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    issuer.add_api(url, name="verified", scope="tools.call")
    environment = {"GUARD_ISSUER": issuer.issuer, "GUARD_AUDIENCE": url, "VERIFIER": "on"}
    with uvicorn(tmp_path_factory.mktemp("verified"), "mcp_tools", port, **environment):
        yield url


@pytest.fixture(scope="module")
def agent(issuer: Server, tools: str) -> str:
    """The name of a client that may call the tools; KEY is its key."""
    public = issuer.folder / "agent.pub"
    public.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = ["--public-key", str(public), "--alg", "RS256", "--scope", "tools.call", "--resource", tools]
    issuer.affiant("client", "new", "agent", *words)
    return "agent"


def _provider(
    tools: str,
    name: str,
    issuer: str,
    storage: Storage,
    assertions: Callable[[str], Awaitable[str]] | None = None,
) -> PrivateKeyJWTOAuthProvider:
    """One that signs with KEY, or has its assertions elsewhere."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signing = SignedJWTParameters(issuer=name, subject=name, signing_key=pem)
    return PrivateKeyJWTOAuthProvider(
        server_url=tools,
        storage=storage,
        client_id=name,
        assertion_provider=assertions or signing.create_assertion_provider(),
        scope="tools.call",
        issuer=issuer,
    )


async def _add(tools: str, auth: httpx2.Auth) -> Any:
    http = httpx2.AsyncClient(auth=auth, timeout=20)
    async with http, Client(streamable_http_client(tools, http_client=http)) as client:
        return await client.call_tool("add", {"a": 2, "b": 3})


async def test_agent_calls_a_tool(issuer: Server, tools: str, agent: str) -> None:
    """From the challenge to the metadata of the API, to those of the issuer, to the token, to the tool."""
    storage = Storage()
    result = await _add(tools, _provider(tools, agent, issuer.issuer, storage))
    assert result.structured_content == {"result": 5}
    assert storage.token is not None
    claims = compact.parse(storage.token.access_token).claims
    assert (claims["client_id"], claims["aud"], claims["scope"]) == (agent, tools, "tools.call")


@pytest.mark.parametrize("scopes", [("tools.call",), ("tools.call", "tools.reset")])
async def test_a_tool_knows_its_caller(issuer: Server, tools: str, scopes: tuple[str, ...]) -> None:
    """With the auth of our own SDK; a tool may want a scope of its own."""
    name = f"agent-{len(scopes)}"
    issuer.affiant(
        "client", "new", name, *(word for scope in scopes for word in ("--scope", scope)), "--resource", tools
    )
    auth = Service.from_credentials(issuer.folder / f"{name}.affiant.json").auth(tools, " ".join(scopes))
    http = httpx2.AsyncClient(auth=auth, timeout=20)
    async with http, Client(streamable_http_client(tools, http_client=http)) as client:
        told = await client.call_tool("whoami", {})
        reset = await client.call_tool("reset", {})
    assert told.structured_content == {"result": name}
    if "tools.reset" in scopes:
        assert reset.structured_content == {"result": f"reset by {name}"}
    else:
        assert reset.is_error
        assert "the token lacks the scope tools.reset" in str(reset.content)


async def test_the_sdk_asks_the_guard_about_tokens(issuer: Server, verified: str) -> None:
    """Its own challenge, to its own client, names the issuer: the whole way, with our verifier."""
    public = issuer.folder / "verified.pub"
    public.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = ["--public-key", str(public), "--alg", "RS256", "--scope", "tools.call", "--resource", verified]
    issuer.affiant("client", "new", "verified-agent", *words)
    http = httpx2.AsyncClient(auth=_provider(verified, "verified-agent", issuer.issuer, Storage()), timeout=20)
    async with http, Client(streamable_http_client(verified, http_client=http)) as client:
        told = await client.call_tool("whoami", {})
    assert told.structured_content == {"result": "verified-agent"}
    assert httpx2.post(verified, headers={"authorization": "Bearer x"}, json={}).status_code == 401


async def test_a_pod_calls_a_tool_without_a_secret(issuer: Server, tools: str, tmp_path: Path) -> None:
    """By the SDK, which shows the token of the pod as its assertion; and by ours, which shows it as the grant."""
    pod = kubernetes.pod()
    (tmp_path / "keys.json").write_text(json.dumps(Issuer.of(pod).jwks))
    (tmp_path / "token").write_text(asked(pod, issuer.issuer))
    trust = ("trust", "add", "kubernetes", "shop/orders", "--issuer", pod.issuer, "--jwks", str(tmp_path / "keys.json"))
    issuer.affiant(*trust, "--new-client", "pod", "--scope", "tools.call", "--resource", tools)

    async def of_the_platform(audience: str) -> str:
        return asked(pod, audience)

    theirs = _provider(tools, "pod", issuer.issuer, Storage(), of_the_platform)
    ours = Service.from_platform(f"kubernetes:{tmp_path / 'token'}", issuer.issuer).auth(tools, "tools.call")
    for auth in (theirs, ours):
        assert (await _add(tools, auth)).structured_content == {"result": 5}


async def test_agent_of_another_issuer_signs_nothing(issuer: Server, tools: str, agent: str) -> None:
    """An agent that trusts another server is not talked into ours by the tools."""
    storage = Storage()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - groups in groups
        await _add(tools, _provider(tools, agent, "https://other.example", storage))
    assert any(isinstance(error, OAuthFlowError) for error in _leaves(caught.value))
    assert storage.token is None


def _leaves(error: BaseException) -> list[BaseException]:
    inside = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [leaf for each in inside for leaf in _leaves(each)] or [error]


def test_the_stub_refuses_everybody(issuer: Server) -> None:
    """Whatever is asked, and whatever address one wants to be sent to (RFC 9700 section 4.11.1)."""
    document = httpx2.get(f"{issuer.issuer}/.well-known/oauth-authorization-server").json()
    stub = document["authorization_endpoint"]
    query = {"response_type": "code", "client_id": "agent", "redirect_uri": "https://evil.example/", "state": "<b>"}
    for reply in (httpx2.get(stub, params=query), httpx2.post(stub, data=query), httpx2.get(stub)):
        assert (reply.status_code, reply.json()["error"]) == (400, "unsupported_response_type")
        assert "location" not in reply.headers
        assert "evil" not in reply.text
        assert reply.headers["cache-control"] == "no-store"


async def test_without_a_token_the_tools_say_where_to_get_one(issuer: Server, tools: str) -> None:
    """RFC 9728 sections 3 and 5.1."""
    reply = httpx2.post(tools, json={})
    assert reply.status_code == 401
    url = tools.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    assert f'resource_metadata="{url}"' in reply.headers["www-authenticate"]
    document = httpx2.get(url).json()
    assert (document["resource"], document["authorization_servers"]) == (tools, [issuer.issuer])
