"""A server for each shape of issuer, and an environment of its own for what others wrote (`make interop` makes it)."""

import datetime
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.certificates import lasting
from tests.loopback import listens
from tests.process import Child, Launch, Server

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-interop" / "bin" / "python"
CLIENT_SECONDS = 60


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the test authority; every process of these tests trusts it."""
    folder = tmp_path_factory.mktemp("authority")
    made = lasting(dn="CN=authority", is_ca=True)
    made.write(folder, "authority")
    lasting(dn="CN=localhost", dns=("localhost",), by=made).write(folder, "tls")
    trust = {
        name: str(folder / "authority.pem") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    }
    before = {name: os.environ.get(name) for name in trust}
    os.environ.update(trust)
    yield folder
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


def _with_tls(folder: Path, authority: Path, path: str, environment: dict[str, str]) -> Server:
    words = ("--tls-cert", str(authority / "tls.pem"), "--tls-key", str(authority / "tls.key"))
    return Server(folder, origin="https://localhost", path=path, options=words, environment=environment)


@pytest.fixture(scope="session")
def plain(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """http://127.0.0.1:PORT, all defaults."""
    with Server(tmp_path_factory.mktemp("plain")) as server:
        server.add_api()
        yield server


@pytest.fixture(scope="session")
def with_path(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """https://localhost:PORT/as, which publishes an authorization_endpoint."""
    environment = {"AFFIANT_AUTHORIZATION_ENDPOINT": "on"}
    with _with_tls(tmp_path_factory.mktemp("path"), authority, "/as", environment) as server:
        server.add_api()
        yield server


@pytest.fixture(scope="session")
def okta_like(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """https://localhost:PORT/oauth2/v1."""
    with _with_tls(tmp_path_factory.mktemp("okta"), authority, "/oauth2/v1", {}) as server:
        server.add_api()
        yield server


def program(name: str) -> str:
    """Find a program of others; skip the test without it."""
    elsewhere = (str(PYTHON.parent), "/usr/lib/rabbitmq/bin", os.environ["PATH"], "/usr/sbin")
    found = shutil.which(name, path=os.pathsep.join(elsewhere))
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install it, or make interop, to run this recipe")
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Launch]:
    """Start a program in tmp_path, and wait until its port answers."""
    children: list[Child] = []

    def run(port: int, *command: str, **environment: str) -> Child:
        child = Child.start(tmp_path, *command, name=f"program{len(children)}", **environment)
        children.append(child)
        child.until(lambda: listens(port))
        return child

    yield run
    for child in children:
        child.stop()


@dataclass
class Foreign:
    """Runs one recipe."""

    command: list[str]

    def run(self, recipe: str, server: Server, **more: str) -> None:
        environment = {
            "ISSUER": server.issuer,
            "HOME": str(server.folder),
            "XDG_CACHE_HOME": str(server.folder),
            **more,
        }
        done = subprocess.run(
            [*self.command, recipe],
            cwd=server.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=CLIENT_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def foreign() -> Foreign:
    """The clients for Python."""
    if not PYTHON.exists():
        pytest.skip("the clients of others are not installed: make interop")
    return Foreign([str(PYTHON), str(HERE / "recipes.py")])


@pytest.fixture(scope="session")
def foreign_node(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    """The clients for Node, at their locked versions."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: install Node 20 or newer for the Node clients")
    folder = tmp_path_factory.mktemp("node") / "project"
    shutil.copytree(HERE / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=120)
    return Foreign(["node", str(folder / "recipes.mjs")])


@dataclass
class Pair:
    """A key pair as files: the private key, the public one, a certificate of it."""

    private: Path
    public: Path
    certificate: Path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """One pair for EC, one for RSA."""
    folder = tmp_path_factory.mktemp("pairs")
    return {
        "ec": _pair(folder, "ec", ec.generate_private_key(ec.SECP256R1())),
        "rsa": _pair(folder, "rsa", rsa.generate_private_key(65537, 2048)),
    }


def _pair(folder: Path, name: str, key: Any) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.pub", folder / f"{name}.crt")
    pem = serialization.Encoding.PEM
    pair.private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    pair.public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    pair.certificate.write_bytes(_self_signed(key))
    return pair


def _self_signed(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def issued(server: Server, client_id: str) -> list[dict[str, Any]]:
    """The records of tokens that this client was issued."""
    records = [row["record"] for row in server.affiant("audit", "show", "-n", "1000")]
    return [record for record in records if record.get("client_id") == client_id and record["outcome"] == "issued"]
