"""Names of keys, where they are taken, and what a missing package is called."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from affiant.client import Service
from affiant.client.credentials import file as credentials
from affiant.errors import LocalError
from affiant.signers import opening
from affiant.signers.opening import open_signer

ISSUER = "https://as.example"


@pytest.mark.parametrize("name", ["", "kms:x", "awskm:x", "AWSKMS:x", "key.pem"])
def test_an_unknown_scheme(name: str) -> None:
    assert not opening.is_name(name)
    with pytest.raises(LocalError, match="is no scheme of a key: use awskms:, gcpkms:, azurekv:, vault:"):
        open_signer(name)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("awskms:x", "boto3", "aws"),
        ("gcpkms:x", "google.cloud", "gcp"),
        ("azurekv:x", "azure.keyvault", "azure"),
        ("vault:a/b", "httpx2", "client"),
    ],
)
def test_a_package_that_is_missing(name: str, package: str, extra: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None
from affiant.errors import LocalError
from affiant.signers.opening import open_signer
try:
    open_signer({name!r})
except LocalError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout.strip().endswith(f": pip install 'affiant[{extra}]'")


def test_a_bad_name_is_told_when_it_is_given() -> None:
    with pytest.raises(LocalError, match="does not name one version of a key"):
        Service(ISSUER, "billing", key="gcpkms:projects/shop")
    with pytest.raises(LocalError, match="dpop= takes a private key, not another signer"):
        Service(ISSUER, "billing", secret="s", dpop="awskms:arn:aws:kms:eu-west-1:1:key/x")


def test_a_credentials_file_names_a_signer(tmp_path: Path) -> None:
    members = {"affiant": 1, "issuer": ISSUER, "client_id": "billing", "auth_method": "private_key_jwt"}
    path = tmp_path / "billing.affiant.json"
    path.write_text(json.dumps(members | {"signer": "awskms:arn:aws:kms:eu-west-1:1:key/x", "alg": "ES256"}))
    path.chmod(0o600)
    Service.from_credentials(path)
    found = credentials.read(path)
    assert found.signer == "awskms:arn:aws:kms:eu-west-1:1:key/x"
    found.replace(path)
    assert credentials.read(path) == found


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"signer": 7}, '"signer" in x is of the wrong kind'),
        ({"signer": "awskms:x", "key_file": "x.key"}, 'one of "key", "key_file", "signer" and "client_secret"'),
    ],
)
def test_a_signer_in_a_file_is_checked(more: dict[str, object], words: str) -> None:
    members = {"affiant": 1, "issuer": ISSUER, "client_id": "billing", "auth_method": "private_key_jwt", **more}
    with pytest.raises(LocalError, match=words):
        credentials.parse(json.dumps(members), name="x")
