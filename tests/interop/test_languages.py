"""The programs of docs/how-to/languages.md, as they are there, at a real server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest
from tests import npm
from tests.interop.conftest import program
from tests.loopback import free_port
from tests.process import Launch, Server

from affiant.jose import compact

pytestmark = pytest.mark.interop
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "languages.md").read_text("utf-8")
NODE = Path(__file__).parents[1] / "e2e" / "node"
INTEROP_NODE = Path(__file__).parent / "node"
API = "https://orders.example"
RUNS = {"billing.go": ("go", "run"), "Billing.java": ("java",), "billing.mjs": ("node",)}


@pytest.fixture(scope="module")
def folder(plain: Server, with_path: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key, made and registered by the commands of the page, and the packages for Node."""
    made = tmp_path_factory.mktemp("languages")
    (commands,) = re.findall(r"^```console\n(openssl .*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    *openssl, register = commands.splitlines()
    for line in openssl:
        subprocess.run(line.split(), cwd=made, check=True, capture_output=True)
    for server in (plain, with_path):
        server.affiant(*register.replace("billing.pub", str(made / "billing.pub")).split()[1:])
    return made


def written(name: str, server: Server, folder: Path) -> str:
    """Write the program of the page with the address of this server."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (text,) = (text for text in blocks if text.startswith(f"// {name}\n"))
    (folder / name).write_text(text.replace("https://as.example", server.issuer))
    return name


def printed(words: tuple[str, ...], folder: Path) -> str:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed: its program of docs/how-to/languages.md does not run here")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", RUNS)
def test_client_with_the_standard_library(plain: Server, folder: Path, name: str) -> None:
    found = printed((*RUNS[name], written(name, plain, folder)), folder)
    token = json.loads(found)["access_token"] if found.startswith("{") else found
    claims = compact.parse(token).claims
    assert (claims["client_id"], claims["scope"], claims["aud"]) == ("billing", "orders.read", API)


def test_openid_client(with_path: Server, folder: Path, tmp_path: Path) -> None:
    project = npm.install(NODE, tmp_path / "node", seconds=120)
    shutil.copy(folder / "billing.pem", project)
    token = printed(("node", written("openid.mjs", with_path, project)), project)
    assert compact.parse(token).claims["client_id"] == "billing"


def test_api_with_jose(plain: Server, folder: Path, tmp_path: Path, start: Launch) -> None:
    project = npm.install(INTEROP_NODE, tmp_path / "node", seconds=120)
    port = free_port()
    text = (project / written("orders.mjs", plain, project)).read_text()
    (project / "orders.mjs").write_text(text.replace("8000", str(port)))
    start(port, program("node"), str(project / "orders.mjs"))
    token = printed(("node", written("billing.mjs", plain, folder)), folder)
    url = f"http://127.0.0.1:{port}/orders"
    for header, status in ((f"Bearer {token}", 200), ("Bearer x.y.z", 401), ("", 401)):
        assert httpx2.get(url, headers={"Authorization": header} if header else {}).status_code == status
