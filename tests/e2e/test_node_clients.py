"""Clients for Node, as they are on the registry, get a token with private_key_jwt and call the guarded API with it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests import npm
from tests.e2e.readers import asked
from tests.platforms import kubernetes
from tests.platforms.issuer import Issuer
from tests.platforms.token import Token
from tests.process import Server

PROJECT = Path(__file__).parent / "node"
LIBRARIES = ["openid-client", "oauth4webapi"]
INSTALL_SECONDS = 20


@pytest.fixture(scope="session")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the locked versions are installed, next to the scripts that use them."""
    return npm.install(PROJECT, tmp_path_factory.mktemp("node") / "project", seconds=INSTALL_SECONDS)


def _run(project: Path, library: str, *words: str) -> Any:
    done = subprocess.run(
        ["node", f"{library}.mjs", *words], cwd=project, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _credentials(server: Server, name: str, api: str) -> str:
    path = server.folder / f"{name}.affiant.json"
    if not path.exists():
        server.affiant("client", "new", name, "--alg", "ES256", "--scope", "orders.read", "--resource", api)
    return str(path)


@pytest.mark.parametrize("algorithm", ["oauth2", "oidc"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_node_client_calls_the_api(server: Server, api: str, node_project: Path, library: str, algorithm: str) -> None:
    """Both take our metadata as they come, from either well-known address, and the API takes the token."""
    got = _run(node_project, library, _credentials(server, library, api), api, "orders.read", algorithm)
    assert got["status"] == 200
    assert got["body"] == {"for": library}
    assert got["scope"] == "orders.read"
    assert got["type"] == "bearer"  # both libraries answer in lower case


def test_node_api_takes_our_token(server: Server, api: str, node_project: Path) -> None:
    """An API under Node accepts our access token by RFC 9068."""
    got = _run(node_project, "oauth4webapi", _credentials(server, "oauth4webapi", api), api, "orders.read", "oauth2")
    assert got["claims"]["client_id"] == "oauth4webapi"
    assert got["claims"]["aud"] == api
    assert got["claims"]["iss"] == server.issuer


@pytest.mark.parametrize("library", LIBRARIES)
def test_node_client_reads_a_refusal(server: Server, api: str, node_project: Path, library: str) -> None:
    """Both understand our error: its code, and the sentence that says why."""
    got = _run(node_project, library, _credentials(server, library, api), api, "orders.write", "oauth2")
    assert got["status"] == 400
    assert got["error"] == "invalid_scope"
    assert got["why"]


@pytest.fixture(scope="module")
def pod(server: Server, api: str, tmp_path_factory: pytest.TempPathFactory) -> Token:
    """A workload of a cluster that the server trusts."""
    found = kubernetes.pod(issuer="https://node.example")
    jwks = tmp_path_factory.mktemp("node-keys") / "jwks.json"
    jwks.write_text(json.dumps(Issuer.of(found).jwks))
    trust = (
        "trust",
        "add",
        "kubernetes",
        "shop/orders",
        "--issuer",
        found.issuer,
        "--jwks",
        str(jwks),
        "--name",
        "node",
    )
    server.affiant(*trust, "--new-client", "node-pod", "--scope", "orders.read", "--resource", api)
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_node_client_shows_the_token_of_its_platform(
    server: Server, api: str, node_project: Path, pod: Token, library: str
) -> None:
    got = _run(node_project, "platform", library, server.issuer, "node-pod", asked(pod, server.issuer), api)
    assert got == [{"status": 200, "body": {"for": "node-pod"}}] * 2
