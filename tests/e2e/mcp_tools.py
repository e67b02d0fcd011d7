"""A real MCP server behind our guard, as docs/how-to/mcp.md says: `uvicorn --factory mcp_tools:build`.

With VERIFIER=on the SDK answers, and asks the guard.
"""

import os

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.applications import Starlette

from affiant.resource import Caller, Guard, GuardMiddleware, ResourceMetadata


def caller(context: Context, *scopes: str) -> Caller:
    found: Caller = context.request_context.request.scope["affiant.caller"]  # type: ignore[union-attr]
    if missing := set(scopes) - found.scopes:
        raise ToolError(f"the token lacks the scope {' '.join(sorted(missing))}")
    return found


def build() -> GuardMiddleware | Starlette:
    if os.environ.get("VERIFIER") == "on":
        return verified()
    server = MCPServer("tools")

    @server.tool()
    def add(a: int, b: int) -> int:
        """The sum of two numbers."""
        return a + b

    @server.tool()
    def whoami(context: Context) -> str:
        """The client that calls."""
        return caller(context).client_id

    @server.tool()
    def reset(context: Context) -> str:
        """What takes a scope of its own."""
        return f"reset by {caller(context, 'tools.reset').client_id}"

    guard = Guard(
        os.environ["GUARD_ISSUER"],
        audience=os.environ["GUARD_AUDIENCE"],
        metadata=ResourceMetadata(scopes=("tools.call",), name="Tools"),
    )
    return GuardMiddleware(server.streamable_http_app(), guard, need=["tools.call"])


def verified() -> Starlette:
    issuer, audience = os.environ["GUARD_ISSUER"], os.environ["GUARD_AUDIENCE"]
    # Text: AnyHttpUrl appends a slash to an issuer without a path.
    auth = AuthSettings.model_validate(
        {
            "issuer_url": issuer,
            "resource_server_url": audience,
            "required_scopes": ["tools.call"],
            "validate_token_resource": True,
        }
    )
    server = MCPServer("tools", token_verifier=Guard(issuer, audience=audience).mcp(), auth=auth)

    @server.tool()
    def whoami() -> str:
        """The client that calls."""
        found = get_access_token()
        return found.client_id if found is not None else ""

    return server.streamable_http_app()
