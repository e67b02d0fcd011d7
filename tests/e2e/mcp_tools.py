"""A real MCP server behind our guard, as docs/how-to/mcp.md says: `uvicorn --factory mcp_tools:build`."""

import os

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from affiant.resource import Caller, Guard, GuardMiddleware, ResourceMetadata


def caller(context: Context, *scopes: str) -> Caller:
    found: Caller = context.request_context.request.scope["affiant.caller"]  # type: ignore[union-attr]
    if missing := set(scopes) - found.scopes:
        raise ToolError(f"the token lacks the scope {' '.join(sorted(missing))}")
    return found


def build() -> GuardMiddleware:
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
