"""Listen for connections: accept, cap, time out and close them. uvicorn reads the requests on them."""
