#!/usr/bin/env bash
# The MCP SDK for Python publishes another issuer when issuer_url is an AnyHttpUrl, as its type demands
#
# Guess:   AuthSettings(issuer_url=AnyHttpUrl("https://as.example")) is the same as with the text "https://as.example".
# Version: mcp 2.3.0
# Seen:    the text stays as it is. An AnyHttpUrl object has the slash already, and the metadata of the API (RFC 9728)
#          then name the authorization server "https://as.example/", which RFC 8414 section 3.3 compares as a string:
#          the SDK's own client refuses the server. A type checker asks for the form that fails.
# So:      give the text; or AnyHttpUrl with a path, which gets no slash.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with mcp==2.3.0

cat > seen.py <<'PY'
import asyncio

import httpx2
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl


class Verifier:
    async def verify_token(self, token: str) -> AccessToken | None:
        return None


async def servers(issuer):
    auth = AuthSettings(issuer_url=issuer, resource_server_url="https://mcp.example/mcp", required_scopes=[],
                        validate_token_resource=False)
    app = MCPServer("tools", token_verifier=Verifier(), auth=auth).streamable_http_app()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://mcp.example") as http:
        document = await http.get("/.well-known/oauth-protected-resource/mcp")
    return document.json()["authorization_servers"]


for issuer in ("https://as.example", AnyHttpUrl("https://as.example"), AnyHttpUrl("https://as.example/realm")):
    print(type(issuer).__name__, issuer, asyncio.run(servers(issuer)))
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
str https://as.example ['https://as.example']
AnyHttpUrl https://as.example/ ['https://as.example/']
AnyHttpUrl https://as.example/realm ['https://as.example/realm']
SEEN
