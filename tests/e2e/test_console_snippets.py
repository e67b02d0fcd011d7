"""The programs of "Use it" on the page of a client, as they are shown there: each gets a token from a real server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import npm
from tests.process import Server

from affiant.jose import base64url
from affiant.server.console.show import snippets
from affiant.server.console.show.snippets import Snippet

NODE = Path(__file__).parent / "node"


def build(server: Server, name: str) -> dict[str, Snippet]:
    shown = server.affiant("client", "show", name)
    return {one.name: one for one in snippets.build(shown, server.issuer, server.affiant("api", "list"))}


def register(server: Server, name: str, *words: str) -> dict[str, Snippet]:
    server.affiant("client", "new", name, "--scope", "orders.read", *words)
    return build(server, name)


def run(folder: Path, *command: str, given: str | None = None) -> str:
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.strip()


def holder(token: str) -> str:
    """The client of an access token."""
    claims: dict[str, Any] = json.loads(base64url.decode(token.split(".")[1]))
    assert claims["scope"] == "orders.read"
    return str(claims["client_id"])


@pytest.mark.parametrize("alg", ["ES256", "ES512", "RS256"])
def test_curl(server: Server, api: str, alg: str) -> None:
    """The signature of ECDSA is that of a JWT, whatever leading zeros its numbers have: it is made a few times."""
    name = f"curl-{alg.lower()}"
    text = register(server, name, "--alg", alg, "--resource", api)["curl-sh"].text
    server.affiant("key", "convert", f"{name}.affiant.json", "--to", "pem", "--out", f"{name}.pem")
    for _ in range(4 if alg.startswith("ES") else 1):
        assert holder(json.loads(run(server.folder, "bash", "-c", text))["access_token"]) == name


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_curl_with_a_secret(server: Server, api: str, method: str) -> None:
    name = method.replace("_", "-")
    text = register(server, name, "--auth", method, "--resource", api)["secret-sh"].text
    secret = server.credentials(name)["client_secret"]
    line = f'user = "{name}:{secret}"\n' if method == "client_secret_basic" else secret
    (server.folder / f"{name}.secret").write_text(line)
    assert holder(json.loads(run(server.folder, "bash", "-c", text))["access_token"]) == name
    assert secret not in text


@pytest.mark.parametrize("name", ["sdk-py", "pyjwt-py"])
def test_python(server: Server, api: str, name: str) -> None:
    text = register(server, name, "--resource", api)[name].text
    assert holder(run(server.folder, sys.executable, "-c", text)) == name


def test_command_line(server: Server, api: str) -> None:
    text = register(server, "command-line", "--resource", api)["affiant-sh"].text
    path = Path(sys.executable).parent
    assert holder(run(server.folder, "bash", "-c", f'PATH="{path}:$PATH" {text}')) == "command-line"


@pytest.mark.parametrize("name", ["openid-client-mjs", "jose-mjs"])
def test_node(server: Server, api: str, node_project: Path, name: str) -> None:
    text = register(server, name, "--resource", api)[name].text
    (node_project / f"{name}.affiant.json").write_text(json.dumps(server.credentials(name)))
    assert holder(run(node_project, "node", "--input-type=module", "-", given=text)) == name


@pytest.fixture(scope="module")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm.install(NODE, tmp_path_factory.mktemp("node") / "project", seconds=20)
