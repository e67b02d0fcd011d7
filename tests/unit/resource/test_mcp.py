"""The guard as the token verifier of the MCP SDK, in the SDK's own application."""

import logging
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext, BearerAuthBackend, authorization_context
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl
from starlette.requests import HTTPConnection
from tests.unit.resource.issuer import API, ISSUER, NOW, Issuer
from tests.unit.resource.listening import listening

from affiant.errors import ConfigError, RemoteError
from affiant.resource import Guard

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
THUMBPRINT = "A" * 43


class Failing(Issuer):
    """An issuer whose keys cannot be had."""

    async def jwks(self) -> httpx2.Response:
        return httpx2.Response(500)


async def _ask(guard: Guard, *tokens: bytes) -> httpx2.Response:
    """Send a request to the SDK's application, which leaves the verdict to the guard."""
    settings = AuthSettings.model_validate(
        {
            "issuer_url": ISSUER,
            "resource_server_url": API,
            "required_scopes": ["tools.call"],
            "validate_token_resource": True,
        }
    )
    app = MCPServer("tools", token_verifier=guard.mcp(), auth=settings).streamable_http_app(
        stateless_http=True, json_response=True, host="api.example"
    )
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    headers = [*HEADERS.items(), *(("authorization", token.decode()) for token in tokens)]
    async with httpx2.AsyncClient(transport=transport, base_url=API) as http, app.router.lifespan_context(app):
        return await http.post("/mcp", headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})


def _bearer(issuer: Issuer, **claims: Any) -> str:
    return issuer.token(**{"scope": "tools.call", **claims}).decode().removeprefix("Bearer ")


async def test_the_sdk_gets_the_caller() -> None:
    issuer = Issuer()
    token = _bearer(issuer, sub="s", scope="b a", act={"sub": "agent"}, aud=["https://other.example", API])
    found = await issuer.guard().mcp().verify_token(token)
    assert found is not None
    assert (found.client_id, found.subject, found.scopes, found.resource) == ("c", "s", ["a", "b"], API)
    assert (found.token, found.expires_at) == (token, NOW + 3600)
    assert found.claims is not None
    assert found.claims["act"] == {"sub": "agent"}
    assert token not in repr(found)
    assert "agent" not in repr(found)


async def test_the_sdk_knows_whose_session_it_is() -> None:
    issuer = Issuer()
    headers = [(b"authorization", issuer.token(sub="s"))]
    backend = BearerAuthBackend(issuer.guard().mcp(), resource_server_url=AnyHttpUrl(API))
    found = await backend.authenticate(HTTPConnection({"type": "http", "headers": headers}))
    assert found is not None
    assert authorization_context(found[1]) == AuthorizationContext(client_id="c", issuer=ISSUER, subject="s")


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": NOW - 60}, "token.expired"),
        ({"aud": "https://other.example"}, "token.audience"),
        ({"iss": "https://other.example"}, "token.issuer"),
        ({"exp": None}, "token.claim"),
        ({"cnf": {"jkt": THUMBPRINT}}, "token.binding"),
        ({"cnf": {"x5t#S256": THUMBPRINT}}, "token.binding"),
    ],
)
async def test_a_refusal_is_none_and_its_reason_is_in_the_log(
    claims: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer()
    caplog.set_level(logging.INFO, logger="affiant")
    token = _bearer(issuer, **claims)
    assert await issuer.guard().mcp().verify_token(token) is None
    assert f"refused: {code}" in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize("token", ["", " ", "ümlaut", "\ud800", "a b", "a\r\nb", "a,b"])
async def test_what_is_no_token_is_refused(token: str) -> None:
    assert await Issuer().guard().mcp().verify_token(token) is None


async def test_a_good_token_is_not_called_invalid_while_the_issuer_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """None would be a 401, and the client would throw the token away."""
    issuer = Failing()
    with pytest.raises(RemoteError):
        await issuer.guard().mcp().verify_token(_bearer(issuer))
    assert f"no token of {ISSUER} can be checked" in caplog.text
    reply = await _ask(issuer.guard(), issuer.token(scope="tools.call"))
    assert (reply.status_code, reply.headers.get("www-authenticate")) == (500, None)


def test_a_guard_that_takes_bound_tokens_only_is_no_verifier() -> None:
    with pytest.raises(ConfigError, match="takes bound tokens only"):
        Issuer().guard(dpop="required").mcp()


async def test_what_the_sdk_answers() -> None:
    """Less than the middleware does: docs/how-to/mcp.md says what."""
    issuer = Issuer()
    guard = issuer.guard()
    good, expired, other = issuer.token(scope="tools.call"), issuer.token(exp=NOW - 60), issuer.token(scope="else")
    assert (await _ask(guard, good)).json()["result"] == {}
    without, refused, forbidden = [await _ask(guard, *tokens) for tokens in ([], [expired], [other])]
    assert (without.status_code, refused.status_code, forbidden.status_code) == (401, 401, 403)
    # RFC 6750 section 3.1: no error code without credentials.
    assert without.headers["www-authenticate"] == refused.headers["www-authenticate"]
    assert 'error="invalid_token"' in without.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in forbidden.headers["www-authenticate"]
    for reply in (without, refused, forbidden):
        challenge = reply.headers["www-authenticate"]
        assert f'resource_metadata="{API}/.well-known/oauth-protected-resource"' in challenge
        assert "scope=" not in challenge
        assert "DPoP" not in challenge
        assert "cache-control" not in reply.headers
    # It takes the first of two tokens, where the middleware answers 400.
    assert (await _ask(guard, good, expired)).status_code == 200


async def test_the_page_runs_as_it_is_there() -> None:
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "mcp.md").read_text("utf-8")
    (code,) = [
        part for part in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if ".mcp()" in part
    ]
    url = "https://mcp.example/mcp"
    with listening() as issuer:
        written = code.replace("https://as.example", issuer.url).replace(
            f'audience="{url}"', f'audience="{url}", clock=clock'
        )
        names: dict[str, Any] = {"clock": lambda: issuer.now}
        exec(written, names)
        app = names["app"]
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000")
        async with http, app.router.lifespan_context(app):
            without = await http.post("/mcp", headers=HEADERS, json={})
            good = issuer.token(aud=url, scope="tools.call").decode()
            passed = await http.post("/mcp", headers={**HEADERS, "authorization": good}, json={})
            document = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
    assert without.status_code == 401
    assert "https://mcp.example/.well-known/oauth-protected-resource/mcp" in without.headers["www-authenticate"]
    assert passed.status_code == 400  # no message of MCP: the SDK itself says so
    assert (document["resource"], document["authorization_servers"]) == (url, [issuer.url])
