"""Verifiers that others wrote take our access tokens as docs/how-to/interop.md configures them."""

from pathlib import Path

import pytest
from tests.interop.conftest import Foreign
from tests.process import Server

pytestmark = pytest.mark.interop
ORDERS, DATA = "https://orders.example", "https://data.example"


def _token(server: Server, name: str, resource: str, scope: str) -> str:
    server.affiant("client", "new", name, "--scope", scope, "--resource", resource)
    text: str = server.affiant("token", "-c", f"{name}.affiant.json", "--resource", resource, "--scope", scope)[
        "access_token"
    ]
    return text


def test_auth0_express_middleware(plain: Server, foreign_node: Foreign) -> None:
    token = _token(plain, "express", ORDERS, "orders.read")
    foreign_node.run("express", plain, RESOURCE=ORDERS, TOKEN=token)


def test_jose(plain: Server, foreign_node: Foreign) -> None:
    token = _token(plain, "jose", ORDERS, "orders.read")
    foreign_node.run("jose", plain, RESOURCE=ORDERS, TOKEN=token)


def test_aws_jwt_verify(with_path: Server, foreign_node: Foreign) -> None:
    """It asks no JWK Set over http."""
    token = _token(with_path, "aws", ORDERS, "orders.read")
    foreign_node.run("aws_jwt_verify", with_path, RESOURCE=ORDERS, TOKEN=token)


def test_fastmcp(plain: Server, foreign: Foreign) -> None:
    token = _token(plain, "fastmcp", ORDERS, "orders.read")
    foreign.run("fastmcp_verifier", plain, CLIENT_ID="", RESOURCE=ORDERS, SCOPE="orders.read", TOKEN=token)


def test_fastmcp_asks_our_guard(plain: Server, foreign: Foreign) -> None:
    tools = "https://tools.example/mcp"
    plain.affiant("api", "new", "tools", "--identifier", tools, "--scope", "tools.call", "--scope", "tools.list")
    more = {
        "CLIENT_ID": "",
        "NAME": "agent",
        "RESOURCE": tools,
        "SCOPE": "tools.call",
        "TOKEN": _token(plain, "agent", tools, "tools.call"),
        "OTHER_TOKEN": _token(plain, "lister", tools, "tools.list"),
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }
    foreign.run("fastmcp_guard", plain, **more)


def test_scitokens(with_path: Server, foreign: Foreign) -> None:
    with_path.affiant("api", "new", "data", "--identifier", DATA, "--scope", "read:/data")
    token = _token(with_path, "scitokens", DATA, "read:/data")
    foreign.run("scitokens_verifier", with_path, CLIENT_ID="", RESOURCE=DATA, TOKEN=token)
