"""The guard where calls are no requests of HTTP to a path: gRPC, and the tools of MCP servers."""
