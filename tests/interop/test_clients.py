"""Each recipe of docs/how-to/interop.md: the client of others gets its token from a real server."""

import pytest
from tests.interop.conftest import Foreign, Pair, issued
from tests.process import Server

pytestmark = pytest.mark.interop
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LEGACY = ("--audience", "legacy", "--lifetime", "legacy")
MSAL = (*LEGACY, "--access-token-lifetime", "900")


def _register_key(server: Server, name: str, pair: Pair, alg: str, *more: str) -> None:
    server.affiant(
        "client", "new", name, "--public-key", str(pair.public), "--alg", alg, "--scope", "orders.read", *more
    )


def _register_secret(server: Server, name: str, method: str) -> str:
    server.affiant("client", "new", name, "--auth", method, "--scope", "orders.read")
    secret: str = server.credentials(name)["client_secret"]
    return secret


@pytest.mark.parametrize("recipe", ["msal_key", "msal_node"])
def test_msal_with_a_certificate(
    with_path: Server, foreign: Foreign, foreign_node: Foreign, pairs: dict[str, Pair], recipe: str
) -> None:
    _register_key(with_path, recipe, pairs["rsa"], "PS256", *MSAL)
    runner = foreign_node if recipe == "msal_node" else foreign
    pair = pairs["rsa"]
    runner.run(
        recipe,
        with_path,
        CLIENT_ID=recipe,
        KEY=str(pair.private),
        CERTIFICATE=str(pair.certificate),
        SCOPE="orders.read",
    )
    assert issued(with_path, recipe)[0]["alg"] == "PS256"


def test_msal_with_a_secret(with_path: Server, foreign: Foreign) -> None:
    secret = _register_secret(with_path, "msal-secret", "client_secret_post")
    foreign.run("msal_secret", with_path, CLIENT_ID="msal-secret", SECRET=secret, SCOPE="orders.read")
    assert len(issued(with_path, "msal-secret")) == 1


def test_okta(okta_like: Server, foreign: Foreign, pairs: dict[str, Pair]) -> None:
    _register_key(okta_like, "okta", pairs["rsa"], "RS256", *LEGACY)
    foreign.run("okta", okta_like, CLIENT_ID="okta", KEY=str(pairs["rsa"].private), SCOPE="orders.read")
    assert len(issued(okta_like, "okta")) == 1


def test_kafka_by_jwt_bearer(plain: Server, foreign: Foreign, pairs: dict[str, Pair]) -> None:
    _register_key(plain, "kafka", pairs["rsa"], "RS256", "--grant", JWT_BEARER)
    foreign.run("kafka", plain, CLIENT_ID="kafka", KEY=str(pairs["rsa"].private), SCOPE="orders.read")
    assert issued(plain, "kafka")[0]["grant"] == JWT_BEARER


@pytest.mark.parametrize(
    ("recipe", "method"),
    [
        ("kafka_secret", "client_secret_basic"),
        ("databricks", "client_secret_basic"),
        ("snowflake", "client_secret_basic"),
        ("pyiceberg", "client_secret_basic"),
        ("pulsar", "client_secret_post"),
    ],
)
def test_client_with_a_secret(plain: Server, foreign: Foreign, recipe: str, method: str) -> None:
    secret = _register_secret(plain, recipe, method)
    foreign.run(recipe, plain, CLIENT_ID=recipe, SECRET=secret, SCOPE="orders.read", RESOURCE="https://orders.example")
    assert issued(plain, recipe)[0]["method"] == method


def test_pyiceberg_with_a_credential(plain: Server, foreign: Foreign) -> None:
    """It renews with the old token and the secret: the token is no second way to authenticate."""
    secret = _register_secret(plain, "ice", "client_secret_post")
    foreign.run("pyiceberg_credential", plain, CLIENT_ID="ice", SECRET=secret, SCOPE="orders.read")
    assert len(issued(plain, "ice")) == 3


@pytest.mark.parametrize("recipe", ["requests_oauth2client", "fhirclient"])
def test_strict_client(plain: Server, foreign: Foreign, pairs: dict[str, Pair], recipe: str) -> None:
    """These need no policy."""
    _register_key(plain, recipe, pairs["ec"], "ES256")
    foreign.run(recipe, plain, CLIENT_ID=recipe, KEY=str(pairs["ec"].private), SCOPE="orders.read")
    assert issued(plain, recipe)


def test_badgateway(plain: Server, foreign_node: Foreign) -> None:
    secret = _register_secret(plain, "bad-gateway", "client_secret_basic")
    foreign_node.run("badgateway", plain, CLIENT_ID="bad-gateway", SECRET=secret, SCOPE="orders.read")
    assert len(issued(plain, "bad-gateway")) == 1


def test_mcp_typescript(with_path: Server, foreign_node: Foreign, pairs: dict[str, Pair]) -> None:
    mcp, pair = "https://mcp.example/mcp", pairs["ec"]
    with_path.affiant("api", "new", "mcp", "--identifier", mcp, "--scope", "tools.call")
    words = ("--public-key", str(pair.public), "--alg", "ES256", "--scope", "tools.call", "--resource", mcp)
    with_path.affiant("client", "new", "agent", *words)
    foreign_node.run("mcp", with_path, CLIENT_ID="agent", KEY=str(pair.private), SCOPE="tools.call", RESOURCE=mcp)
    assert issued(with_path, "agent")[0]["resource"] == mcp
