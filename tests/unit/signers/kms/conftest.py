"""The imitations of tests/kms, and how a key of each is opened."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.kms import azure, gcp, server, vault
from tests.kms.aws import REGION, AwsKms
from tests.kms.azure import AzureVault
from tests.kms.gcp import GoogleKms
from tests.kms.server import Imitation
from tests.kms.vault import Vault

from affiant.jose.algorithms import ALGORITHMS
from affiant.signers.checked import Checked
from affiant.signers.held import make_signer
from affiant.signers.kms.azure import TIMEOUTS, AzureKey
from affiant.signers.opening import open_signer

_AMBIENT = ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT")


class Kms(NamedTuple):
    """A KMS, and what it can do."""

    server: Imitation
    open: Callable[[str], Checked]  # the key for this algorithm, with this algorithm named
    algorithms: tuple[str, ...]
    signature: Callable[[bytes], dict[str, object]]  # an answer that has this signature
    pairs: tuple[str, str]  # the members with the signature and the public key


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials and settings of this machine reach a test."""
    for name in (*_AMBIENT, "VAULT_ADDR", "VAULT_TOKEN", "VAULT_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def aws_kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsKms]:
    with AwsKms() as imitation:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", imitation.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-secret")
        yield imitation


@pytest.fixture
def google_kms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GoogleKms]:
    with GoogleKms() as imitation:
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", imitation.url)
        monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", gcp.UNIVERSE)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(gcp.credentials(tmp_path)))
        yield imitation


@pytest.fixture
def azure_vault() -> Iterator[AzureVault]:
    with AzureVault() as imitation:
        yield imitation


@pytest.fixture
def vault_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    with Vault() as imitation:
        monkeypatch.setenv("VAULT_ADDR", imitation.url)
        monkeypatch.setenv("VAULT_TOKEN", vault.TOKEN)
        yield imitation


def rsa_or(alg: str) -> str:
    return "RSA" if alg in server.RSA else alg


def open_azure(imitation: AzureVault, alg: str, wanted: str | None = None) -> Checked:
    transport = azure.Redirected(imitation.url, TIMEOUTS)
    key = AzureKey(
        azure.VAULT, alg, azure.VERSION, name=f"azurekv:{alg}", credential=azure.Credential(), transport=transport
    )
    return make_signer(key, name=f"azurekv:{alg}", alg=wanted)


@pytest.fixture
def kms(request: pytest.FixtureRequest) -> Kms:
    name: str = request.param
    if name == "aws":
        imitation = request.getfixturevalue("aws_kms")
        every = (*server.EC, *server.RSA, "Ed25519", "EdDSA", *(("ML-DSA-65",) if "ML-DSA-65" in ALGORITHMS else ()))
        key = {"EdDSA": "Ed25519"}
        return Kms(
            imitation,
            lambda alg: open_signer(f"awskms:{key.get(alg, rsa_or(alg))}", alg=alg),
            every,
            lambda signature: {"Signature": server.b64(signature)},
            ("Signature", "PublicKey"),
        )
    if name == "gcp":
        imitation = request.getfixturevalue("google_kms")
        return Kms(
            imitation,
            lambda alg: open_signer(f"gcpkms:{gcp.version(alg)}", alg=alg),
            tuple(alg for alg in gcp.NUMBERS if alg != "SECP256K1"),
            lambda signature: {"signature": server.b64(signature), "signatureCrc32c": gcp.crc(signature)},
            ("signature", "pem"),
        )
    if name == "azure":
        imitation = request.getfixturevalue("azure_vault")
        return Kms(
            imitation,
            lambda alg: open_azure(imitation, alg, alg),
            (*server.EC, *server.RSA),
            lambda signature: {"value": azure.encode(signature)},
            ("value", "key"),
        )
    imitation = request.getfixturevalue("vault_server")
    return Kms(
        imitation,
        lambda alg: open_signer(f"vault:teams/transit/{rsa_or(alg)}", alg=alg),
        (*server.EC, *server.RSA, "Ed25519"),
        lambda signature: {"data": {"signature": f"vault:v1:{azure.encode(signature)}"}},
        ("data", "keys"),
    )
