"""A real MCP server behind our guard, as docs/how-to/mcp.md says: `uvicorn --factory mcp_tools:build`."""

import os

from mcp.server.mcpserver import MCPServer

from affiant.resource import Guard, ResourceMetadata
from affiant.resource.asgi import GuardMiddleware


def build() -> GuardMiddleware:
    server = MCPServer("tools")

    @server.tool()
    def add(a: int, b: int) -> int:
        """The sum of two numbers."""
        return a + b

    guard = Guard(
        os.environ["GUARD_ISSUER"],
        audience=os.environ["GUARD_AUDIENCE"],
        metadata=ResourceMetadata(scopes=("tools.call",), name="Tools"),
    )
    return GuardMiddleware(server.streamable_http_app(), guard, need=["tools.call"])
