"""The Python of pages of docs/how-to/ that no other test runs: as it is there, with the addresses of this run."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from tests.loopback import free_port
from tests.process import Launch, Server
from tests.rsa_keys import rsa_2048

from affiant import Service
from affiant.jose import compact, keys

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def code_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (HOW_TO / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


class Reader:
    """A reader with a server, an API and the files of clients in the folder of the test."""

    def __init__(self, server: Server, folder: Path, addresses: dict[str, str]) -> None:
        self.server, self.folder = server, folder
        self.addresses = {"https://as.example": server.issuer, **addresses}

    def adapted(self, code: str) -> str:
        for documented, here in self.addresses.items():
            code = code.replace(documented, here)
        return code

    def runs(self, code: str, **names: Any) -> dict[str, Any]:
        exec(self.adapted(code), names)
        return names

    def registers(self, name: str, *words: str, file: str = "") -> None:
        self.server.affiant("client", "new", name, *words)
        (self.server.folder / f"{name}.affiant.json").rename(self.folder / f"{file or name}.affiant.json")


@pytest.fixture
def reader(server: Server, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.chdir(tmp_path)
    return Reader(server, tmp_path, {"https://orders.example": api})


def test_client_keys_in_a_kms(reader: Reader) -> None:
    """The KMS of the page answers as all do: with ECDSA in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (reader.server.folder / "kms.pem").write_bytes(public)
    reader.server.affiant("client", "new", "held", "--public-key", "kms.pem", "--scope", "orders.read")

    class Kms:
        def sign(self, name: str, data: bytes) -> bytes:
            assert name == "key of the KMS"
            return key.sign(data, ec.ECDSA(hashes.SHA256()))

    (kid,) = [one["kid"] for one in reader.server.affiant("client", "show", "held")["keys"]]
    code = next(code for code in code_of("client-keys.md") if "class KmsKey" in code)
    code = code.replace('"billing"', '"held"').replace("billing-2026", kid)
    made = reader.runs(code, kms=Kms(), KEY="key of the KMS", Service=Service)
    assert made["service"].token().value


def test_credentials(reader: Reader) -> None:
    key = keys.generate("ES256")
    public = key.public().key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (reader.server.folder / "bundle.pem").write_bytes(public)
    reader.server.affiant("client", "new", "bundle", "--public-key", "bundle.pem", "--scope", "orders.read")
    private: Any = key.key
    password = serialization.BestAvailableEncryption(b"correct horse")
    made = pkcs12.serialize_key_and_certificates(b"billing", private, None, None, password)
    (reader.folder / "billing.p12").write_bytes(made)
    (reader.folder / "billing.p12").chmod(0o600)
    (code,) = code_of("credentials.md")
    assert reader.runs(code.replace('"billing"', '"bundle"'))["service"].token().value


def test_authorization_details(reader: Reader) -> None:
    commands = re.findall(r"^\$ affiant (.*)$", (HOW_TO / "authorization-details.md").read_text("utf-8"), re.MULTILINE)
    for line in commands[:2]:
        reader.server.affiant(*line.split())
    (reader.server.folder / "shop.affiant.json").rename(reader.folder / "shop.affiant.json")
    request, api = code_of("authorization-details.md")
    token = reader.runs(request)["token"]
    (granted,) = compact.parse(token.value).claims["authorization_details"]
    assert granted["amount"] == {"value": "1.50", "currency": "EUR"}
    assert reader.runs(api)["app"].routes[-1].path == "/payments"


def test_administration_by_a_program(reader: Reader) -> None:
    reader.server.affiant("client", "new", "leaving")
    reader.server.affiant("admin", "bootstrap", "alice")
    (reader.server.folder / "alice.affiant.json").rename(reader.folder / "alice.affiant.json")
    (code,) = code_of("admin.md")
    reader.runs(code.replace('"billing"', '"leaving"'))


def test_revocation(reader: Reader) -> None:
    policies, introspection = code_of("revocation.md")
    from affiant import Guard

    reader.runs(policies, Guard=Guard, issuer=reader.server.issuer)
    reader.registers("orders-api")
    assert reader.runs(introspection)["guard"].issuer == reader.server.issuer


def test_dpop(reader: Reader) -> None:
    reader.registers(
        "bound", "--scope", "orders.read", "--resource", reader.addresses["https://orders.example"], file="billing"
    )
    client, guard, *_ = code_of("dpop.md")
    assert reader.runs(client.replace("httpx2.get(", "reply = httpx2.get("))["reply"].json() == {"for": "bound"}
    assert reader.runs(guard)["guard"].url == reader.addresses["https://orders.example"]


@pytest.fixture(scope="module")
def authorizing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the SDK of MCP accepts."""
    with Server(tmp_path_factory.mktemp("mcp"), environment={"AFFIANT_AUTHORIZATION_ENDPOINT": "on"}) as server:
        yield server


def test_mcp(authorizing: Server, tmp_path: Path, launch: Launch) -> None:
    """The server of the page with its tool, and both clients in processes of their own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    reader = Reader(authorizing, tmp_path, {"https://mcp.example/mcp": url})
    authorizing.add_api(url, "--scope", "tools.reset", name="tools", scope="tools.call")
    key = rsa_2048()
    pem = serialization.Encoding.PEM
    (tmp_path / "agent.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (authorizing.folder / "agent.pub").write_bytes(public)
    authorizing.affiant(
        "client",
        "new",
        "agent",
        "--public-key",
        "agent.pub",
        "--alg",
        "RS256",
        "--scope",
        "tools.call",
        "--resource",
        url,
    )
    members = {"affiant": 1, "issuer": authorizing.issuer, "client_id": "agent", "auth_method": "private_key_jwt"}
    (tmp_path / "agent.affiant.json").write_text(json.dumps({**members, "alg": "RS256", "key_file": "agent.pem"}))
    for file in ("agent.pem", "agent.affiant.json"):
        (tmp_path / file).chmod(0o600)
    server, tool, _, ours, theirs = code_of("mcp.md")
    (tmp_path / "tools.py").write_text(reader.adapted(server + tool))
    child = launch(sys.executable, "-m", "uvicorn", "tools:app", "--port", str(port), "--log-level", "warning")
    child.until_listening(port)
    for number, code in enumerate((ours, theirs)):
        (tmp_path / f"agent{number}.py").write_text(reader.adapted(code))
    agents = [launch(sys.executable, f"agent{number}.py") for number in range(2)]
    for agent in agents:
        assert agent.process.wait(60) == 0, agent.err
        assert "text='5'" in agent.out
