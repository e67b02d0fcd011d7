"""docs/how-to/two-servers.md: a token of the first server gets one of the second, until the first one revokes it."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.certificates import authority, lasting
from tests.loopback import free_port
from tests.process import AFFIANT, Launch, Server, guarded_api

from affiant import Service
from affiant.errors import Refused
from affiant.jose import compact

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/two-servers.md").read_text("utf-8")
SECONDS = 5  # in which a revocation at the first server reaches a guard of the second


def section(heading: str) -> str:
    (found,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def commands(heading: str) -> list[str]:
    return re.findall(r"^\$ affiant (.*)$", section(heading), re.MULTILINE)


@dataclass
class Pair:
    first: Server
    second: Server
    api: str

    def here(self, text: str) -> str:
        addresses = {"as.a": self.first.issuer, "as.b": self.second.issuer, "orders": self.api}
        for name, address in addresses.items():
            text = text.replace(f"https://{name}.example", address)
        return text

    def run(self, server: Server, heading: str) -> None:
        for line in commands(heading):
            server.affiant(*self.here(line).split(), *(("--ca", "ca.pem") if line.startswith("trust add") else ()))

    def status(self, token: str) -> int:
        return httpx2.get(f"{self.api}/orders", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The first server over TLS, as the second one fetches nothing without."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second", "api")]
    lasting(dn="CN=server", dns=("localhost",), ip=("127.0.0.1",), by=authority()).write(folders[0], "server")
    for folder in folders:
        (folder / "ca.pem").write_bytes(authority().pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folders[0] / "ca.pem"))
        words = ("--tls-cert", "server.pem", "--tls-key", "server.key")
        first = Server(folders[0], origin="https://127.0.0.1", options=words)
        second = Server(folders[1], workers=2, environment={"AFFIANT_JWKS_URI_ALLOW": "127.0.0.1"})
        api = f"http://127.0.0.1:{free_port()}"
        with first, second, guarded_api(folders[2], second.issuer, api):
            second.add_api(api)
            made = Pair(first, second, api)
            made.run(first, "At A: tokens for B")
            made.run(second, "At B: a trust in A, and a rule")
            yield made


def code_of(heading: str) -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```$", section(heading), re.DOTALL | re.MULTILINE)
    return str(code)


def until_refused(pair: Pair, token: str) -> None:
    begun = time.monotonic()
    while pair.status(token) == 200:
        assert time.monotonic() - begun < SECONDS, "the guard of the second server still takes it"
        time.sleep(0.05)


@pytest.fixture
def folder(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the service, which trusts the authority of the first server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.first.folder / "ca.pem"))
    (tmp_path / "run").mkdir()
    return tmp_path


def take(pair: Pair, name: str, folder: Path) -> None:
    (folder / f"{name}.affiant.json").write_bytes((pair.first.folder / f"{name}.affiant.json").read_bytes())
    (folder / f"{name}.affiant.json").chmod(0o600)


def test_revoked_at_the_first_server(pair: Pair, folder: Path, launch: Launch) -> None:
    take(pair, "billing", folder)
    (agent,) = commands("The service")
    launch(*AFFIANT, *pair.here(agent).split()).until((folder / "run" / "token").exists)
    names: dict[str, Any] = {}
    exec(pair.here(code_of("The service")), names)
    token = names["token"].value
    assert pair.status(token) == 200
    (revoke,) = commands("Revocation at A")
    pair.first.affiant(*revoke.split())
    until_refused(pair, token)
    (folder / "token").write_text(token)
    said = pair.second.run("explain", str(folder / "token"))
    assert f"revoked by {pair.first.issuer}" in said.stdout, said.stdout + said.stderr
    with pytest.raises(Refused, match="revoked"):  # the agent still has its token
        names["service"].token()


def test_exchanged_for_a_caller(pair: Pair, folder: Path) -> None:
    """The token that the caller showed to the API of the first server is revoked."""
    *at_first, at_second = commands("For a caller")
    for line in at_first:
        pair.first.affiant(*pair.here(line).split())
    pair.second.affiant(*at_second.split())
    take(pair, "desk", folder)
    take(pair, "shop", folder)
    received = Service.from_credentials("shop.affiant.json").token("https://desk.example").value
    names: dict[str, Any] = {"received": received}
    exec(pair.here(code_of("For a caller")), names)
    token = names["answer"]["access_token"]
    assert pair.status(token) == 200
    assert compact.parse(token).claims["sub"] == "partner"
    assert "shop" not in str(compact.parse(token).claims["parents"])
    pair.first.affiant("revoke", "--jti", compact.parse(received).claims["jti"])
    until_refused(pair, token)
