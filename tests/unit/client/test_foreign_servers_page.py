"""The code of docs/how-to/foreign-servers.md and of the profiles runs as it is there, against servers with their rules."""

import base64
import json
import re
import ssl
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.certificates import make
from tests.rsa_keys import rsa_2048
from tests.unit.client.conftest import Answer, Foreign, metadata_answer
from tests.unit.client.imitation import RULES, Imitation

from affiant import Service
from affiant.errors import Refused
from affiant.jose import keys

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
PAGES = ("fapi.md", "google.md", "maskinporten.md", "nhs.md", "salesforce.md", "smart.md")
PAGE = "\n".join(
    page.read_text("utf-8") for page in (HOW_TO / "foreign-servers.md", *(HOW_TO / "profiles" / name for name in PAGES))
)
SECTIONS = dict(re.findall(r"^#+ ([^\n]*)\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE))
PROFILES = {
    "SMART Backend Services": "smart",
    "NHS England": "nhs",
    "Maskinporten": "maskinporten",
    "FAPI 2.0": "fapi",
    "Google": "google",
    "Salesforce": "salesforce",
}
KID = "key-1"


def _blocks(title: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", SECTIONS[title], re.DOTALL | re.MULTILINE)


def _pem(key: Any) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    found: bytes = key.private_bytes(encoding, form, serialization.NoEncryption())
    return found


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa_2048()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rsa_key: rsa.RSAPrivateKey) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("billing.pem", "enterprise.key"):
        (tmp_path / name).write_bytes(_pem(rsa_key))
        (tmp_path / name).chmod(0o600)
    (tmp_path / "enterprise.pem").write_bytes(make().pem)
    return tmp_path


@pytest.fixture
def server(request: pytest.FixtureRequest, rsa_key: rsa.RSAPrivateKey) -> Iterator[Imitation]:
    found = Imitation(RULES[PROFILES[request.param]], {KID: rsa_key})
    yield found
    found.close()


@pytest.mark.parametrize(("server", "title"), [(title, title) for title in PROFILES], indirect=["server"])
def test_section_gets_a_token(server: Imitation, title: str, folder: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    names: dict[str, Any] = {}
    if title == "Google":
        account = {
            "client_email": "billing",
            "private_key": _pem(rsa_key).decode(),
            "private_key_id": KID,
            "token_uri": f"{server.url}/token",
        }
        (folder / "account.json").write_text(json.dumps(account))
    for number, block in enumerate(_blocks(title), 1):
        code = re.sub(r"https://[\w.]+\.example(/fhir)?(/[\w/]*token)?", lambda found: _place(server, found), block)
        _prepare(server, title, folder, rsa_key)
        exec(code, names)
        assert names["token"].value == f"token-{number}"
    assert server.mistakes == []
    assert len(SECTIONS[title].splitlines()) <= 32


def _place(server: Imitation, found: re.Match[str]) -> str:
    return server.url + ("/token" if found[2] else "")


def _prepare(server: Imitation, title: str, folder: Path, key: rsa.RSAPrivateKey) -> None:
    """The differences between the servers."""
    if title == "Salesforce":  # it finds the key by the client
        server.keys[keys.parse_private_pem(_pem(key)).kid] = key
    if title == "Maskinporten":
        der = ssl.PEM_cert_to_DER_cert((folder / "enterprise.pem").read_text())
        server.certificates[base64.b64encode(der).decode()] = key
        server.issue_as(f"{server.url}/")


def test_first_block_gets_a_token(foreign: Foreign, folder: Path) -> None:
    names: dict[str, Any] = {}
    exec(_blocks("Get tokens from servers of other makes")[0].replace("https://as.example", foreign.url), names)
    assert names["token"].value == "token-1"
    assert [request.path for request in foreign.requests] == ["/token"]
    assert foreign.sent("/token")[0].assertion["aud"] == "legacy"


def test_hint_is_as_on_the_page(foreign: Foreign, folder: Path) -> None:
    members = {"token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"]}
    foreign.default["/.well-known/oauth-authorization-server"] = metadata_answer(foreign.url, **members)
    foreign.default["/token"] = Answer(401, {"error": "invalid_client"}, {"Date": formatdate(usegmt=True)})
    service = Service(foreign.url, "billing", key=keys.generate("ES256"), kid=KID, header={"typ": "JWT"})
    with pytest.raises(Refused) as caught:
        service.token()
    section = SECTIONS["A server that says only `invalid_client`"]
    shown = re.findall(r"^```\n(.*?)\n```$", section, re.DOTALL | re.MULTILINE)
    assert [str(caught.value).replace(foreign.url, "https://as.example")] == shown


@pytest.mark.parametrize("server", ["SMART Backend Services"], indirect=True)
def test_credentials_file_gets_a_token_on_the_command_line(
    server: Imitation, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a refusal has its hint there."""
    (text,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    kept = folder / "billing.affiant.json"
    kept.write_text(text.replace("https://ehr.example/fhir", server.url))
    kept.chmod(0o600)
    assert _run("token", "-c", str(kept), "--no-cache") == 0
    assert capsys.readouterr().out == "token-1\n"
    assert _run("token", "-c", str(kept), "--no-cache", "--scope", "patient/*.rs") == 4
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "affiant: invalid_client"
    assert [line.split(":")[0] for line in shown[1:4]] == ["  sent", "  its metadata list", "  likely remedy"]
    assert "eyJ" not in "".join(shown)


def _run(*words: str) -> int:
    from affiant.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main(list(words))
    return int(stop.value.code or 0)
