"""A real server whose signing key is in a KMS: imitations of Vault and of AWS KMS, over HTTP."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.e2e.test_key_rotation import API, _kid
from tests.kms import aws, vault
from tests.kms.aws import AwsKms
from tests.kms.server import Imitation
from tests.kms.vault import Vault
from tests.process import Server

from affiant import Guard, testing
from affiant.jose.keys import PrivateKey
from affiant.oauth import names
from affiant.server.keys.calendar import SEEN_SECONDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "kms.md"
SECRET = "canary-of-the-secret"
BROKEN = (500, b'{"errors":["internal error"]}')


@dataclass
class Kms:
    """An imitation, and the name of a key in it."""

    imitation: Imitation
    name: str


@pytest.fixture(params=["vault", "awskms"])
def kms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kms]:
    with Vault() if request.param == "vault" else AwsKms() as imitation:
        environment = {
            "VAULT_ADDR": imitation.url,
            "VAULT_TOKEN": vault.TOKEN,
            "AWS_ENDPOINT_URL_KMS": imitation.url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": aws.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)  # the processes of the test have it from here
        yield Kms(imitation, "vault:teams/transit/ES256:1" if request.param == "vault" else "awskms:ES256")


class Asked:
    """Requests tokens, and shows each to a guard."""

    def __init__(self, server: Server) -> None:
        server.add_api()
        server.affiant("client", "new", "load", "--scope", "orders.read", "--introspect", API)
        self.server, self.key = server, server.key("load")
        self.guard = Guard(server.issuer, audience=API)

    async def tokens(self, number: int = 8) -> set[str]:
        """The kids of tokens from new connections, so by either worker, each accepted by a guard; or "503"."""
        kids = set[str]()
        async with httpx2.AsyncClient(timeout=20, headers={"Connection": "close"}) as http:
            for _ in range(number):
                kids.add(await self._one(http, self.key))
        return kids

    async def _one(self, http: httpx2.AsyncClient, key: PrivateKey) -> str:
        form = testing.form(self.server.assertion("load", key=key))
        reply = await http.post(f"{self.server.issuer}/token", data=form)
        members: dict[str, Any] = reply.json()
        if reply.status_code == 503:
            assert members["error"] == "temporarily_unavailable", members
            assert "access_token" not in members
            return "503"
        assert reply.status_code == 200, reply.text
        await self.guard.check([f"Bearer {members['access_token']}".encode()], need=["orders.read"])
        return _kid(members["access_token"])

    async def until(self, kid: str) -> None:
        for _ in range(100):
            if await self.tokens(4) == {kid}:
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"not every worker answers with {kid}")

    def health(self) -> int:
        return httpx2.get(f"{self.server.issuer}/health", timeout=20).status_code


@pytest.mark.parametrize("kms", ["awskms"], indirect=True)
async def test_server_signs_with_a_key_in_a_kms(kms: Kms, tmp_path: Path) -> None:
    """An outage and a wrong answer are 503, and it goes on afterwards."""
    with Server(tmp_path) as server:
        asked = Asked(server)
        made = server.affiant("signing-key", "rotate", "--now", "--key", kms.name)
        assert (made["kms"], made["alg"]) == (kms.name, "ES256")
        await asyncio.sleep(SEEN_SECONDS + 0.2)
        assert await asked.tokens() == {made["kid"]}
        kms.imitation.broken = BROKEN
        assert await asked.tokens(4) == {"503"}
        kms.imitation.broken = None
        await asked.until(made["kid"])
        kms.imitation.spoil = _wrong_signature
        assert await asked.tokens(4) == {"503"}
        kms.imitation.spoil = lambda members: members
        await asked.until(made["kid"])
        server.affiant("signing-key", "rotate", "--now", "--key", "awskms:ES384")
        document = httpx2.get(f"{server.issuer}{names.WELL_KNOWN_OPENID}").json()
        assert document["id_token_signing_alg_values_supported"] == ["ES256", "ES384"]


@pytest.mark.parametrize("kms", ["vault"], indirect=True)
async def test_server_that_is_killed_starts_without_its_kms_and_an_emergency_outlives_a_restart(
    kms: Kms, tmp_path: Path
) -> None:
    """Two workers sign with the key that another process announced."""
    with Server(tmp_path, workers=2) as server:
        asked = Asked(server)
        made = server.affiant("signing-key", "rotate", "--now", "--key", kms.name)
        await asyncio.sleep(SEEN_SECONDS + 0.2)
        assert await asked.tokens() == {made["kid"]}
        kms.imitation.spoil = _wrong_signature
        assert await asked.tokens(4) == {"503"}
        kms.imitation.spoil = lambda members: members
        await asked.until(made["kid"])
        server.kill()
        kms.imitation.broken = BROKEN
        server.launch().until(lambda: _is_live(server))
        assert await asked.tokens(1) == {"503"}
        assert await _becomes_unhealthy(asked)
        kms.imitation.broken = None
        await asked.until(made["kid"])

        gone = server.affiant("signing-key", "remove", "--", made["kid"])
        assert (gone["signer"], gone["kms"]) == (None, kms.name)
        server.kill()
        server.launch().until(lambda: _is_live(server))
        assert await asked.tokens(2) == {"503"}
        again = server.run("signing-key", "rotate", "--key", kms.name)
        assert again.returncode != 0
        assert "make a new key in the KMS" in again.stderr
        back = server.affiant("signing-key", "rotate", "--key", "new")
        await asked.until(back["kid"])
        said = server.child.out + server.child.err  # type: ignore[union-attr]
        assert f"the signing key {made['kid']} in a KMS ({kms.name}) is removed, and no key signs" in said
        assert vault.TOKEN not in said
        server.affiant("audit", "verify")


def _is_live(server: Server) -> bool:
    try:
        return httpx2.get(f"{server.issuer}/health/live", timeout=5).is_success
    except httpx2.TransportError:
        return False


async def _becomes_unhealthy(asked: Asked) -> bool:
    for _ in range(100):
        if asked.health() == 503:
            return True
        await asyncio.sleep(0.1)
    return False


def _wrong_signature(members: dict[str, Any]) -> dict[str, Any]:
    """A signature of another message, in the form of a good one."""
    if "data" in members and "signature" in members["data"]:
        return {**members, "data": {**members["data"], "signature": f"vault:v1:{'A' * 86}"}}
    if "Signature" in members:
        return {**members, "Signature": "MAYCAQECAQE="}  # DER of r = s = 1
    return members


def test_list_says_when_the_next_key_is_due(kms: Kms, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.add_api()
    (command,) = re.findall(r"^affiant (signing-key .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    made = server.affiant(*command.replace("vault:transit/tokens:1", kms.name).split())
    assert made["next_due_at"] == made["active_at"] + 83 * 86_400
    told = server.run("signing-key", "list")
    assert f"in {kms.name}" in told.stdout
    assert f"make the key that follows {made['kid']} in the KMS by " in told.stderr
    assert "affiant signing-key rotate --key NAME" in told.stderr
    refused = server.run("signing-key", "rotate", "--key", "vault:teams/transit/nothing:1")
    assert refused.returncode != 0
    assert "the key is not announced" in refused.stderr
    assert refused.stderr.count("\n") == 1
