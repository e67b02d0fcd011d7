"""docs/how-to/kms.md, with a real server, real commands and the imitation of each KMS."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kms import gcp
from tests.kms.aws import AwsKms
from tests.kms.azure import AzureVault
from tests.kms.gcp import GoogleKms
from tests.kms.vault import Vault
from tests.process import AFFIANT, ORDERS, Server
from tests.unit.signers.kms.conftest import open_azure

from affiant import Service
from affiant.jose import compact

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "how-to" / "kms.md").read_text("utf-8")
NAME = "awskms:alias/billing"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("kms")) as server:
        server.add_api()
        yield server


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def reads(server: Server, page_name: str, client_id: str) -> None:
    """Run the commands and the code of the page, with another key and client."""

    def adapted(text: str) -> str:
        text = text.replace(NAME, page_name).replace("billing", client_id).replace("https://as.example", server.issuer)
        return text.replace("https://orders.example", ORDERS)

    for line in blocks("console")[0].splitlines():
        words, _, out = adapted(line).partition(" > ")
        command = [*AFFIANT, *shlex.split(words)[1:]]
        done = subprocess.run(command, cwd=server.folder, capture_output=True, check=False, timeout=60, env=os.environ)
        assert done.returncode == 0, done.stderr
        if out:
            (server.folder / out).write_bytes(done.stdout)
    names: dict[str, Any] = {}
    exec(adapted(blocks("python")[0]), names)
    assert compact.parse(names["token"].value).claims["client_id"] == client_id
    members = {"affiant": 1, "issuer": server.issuer, "client_id": client_id, "auth_method": "private_key_jwt"}
    path = server.folder / f"{client_id}.affiant.json"
    path.write_text(json.dumps(members | {"signer": page_name}))
    path.chmod(0o600)
    printed = server.run("token", "-c", path.name, "--resource", ORDERS)
    assert printed.returncode == 0, printed.stderr
    assert compact.parse(printed.stdout.strip()).claims["client_id"] == client_id


def test_aws(server: Server, aws_kms: AwsKms) -> None:
    aws_kms.aliases["alias/billing"] = "ES256"
    aws_kms.aliases["alias/in-aws"] = "ES256"
    reads(server, "awskms:alias/in-aws", "in-aws")


def test_google(server: Server, google_kms: GoogleKms) -> None:
    reads(server, f"gcpkms:{gcp.version('PS256')}", "in-google")


def test_vault(server: Server, vault_server: Vault) -> None:
    reads(server, "vault:teams/transit/Ed25519:1", "in-vault")


def test_azure(server: Server, azure_vault: AzureVault) -> None:
    """Its library sends no token to the imitation, so that the key is not opened by its name."""
    signer = open_azure(azure_vault, "ES512")
    (server.folder / "azure.jwk").write_text(json.dumps(signer.public().to_jwk()))
    server.affiant("client", "new", "in-azure", "--public-key", "azure.jwk", "--scope", "orders.read")
    token = Service(server.issuer, "in-azure", key=signer).token(ORDERS, "orders.read")
    assert compact.parse(token.value).claims["client_id"] == "in-azure"
