"""Keys in Azure Key Vault: the digest that is sent, the version, and what is refused."""

import base64

import pytest
from tests.kms import azure, server
from tests.kms.azure import AzureVault
from tests.unit.signers.kms.conftest import open_azure

from affiant.errors import LocalError
from affiant.signers.opening import open_signer

DATA = b"header.claims"


def test_the_digest_is_made_here(azure_vault: AzureVault) -> None:
    open_azure(azure_vault, "ES384").sign(DATA)
    sent = azure_vault.requests[-1].members
    assert sent["alg"] == "ES384"
    assert base64.urlsafe_b64decode(sent["value"] + "==") == server.digest_of("ES384", DATA)
    assert f"/keys/ES384/{azure.VERSION}/sign?" in azure_vault.requests[-1].path


@pytest.mark.parametrize(
    ("operation", "refusal", "words"),
    [
        (
            "get",
            azure.refuse(403, "Forbidden", "ForbiddenByRbac"),
            "Azure refuses keys/get: assign the role Key Vault Crypto",
        ),
        ("sign", azure.refuse(403, "Forbidden", "ForbiddenByPolicy"), "Azure refuses keys/sign: assign the role"),
        ("sign", azure.refuse(403, "Forbidden"), r"Azure refuses keys/sign: assign .* \(403\)"),
        ("get", azure.refuse(403, "Forbidden", "KeyDisabled"), "the key is disabled: az keyvault key set-attributes"),
        ("sign", azure.refuse(403, "Forbidden", "KeyExpired"), "the key has expired"),
        ("get", azure.refuse(404, "KeyNotFound"), "the vault has no such key or version"),
        ("sign", azure.refuse(400, "BadParameter"), r"Azure refuses keys/sign \(400\)"),
    ],
)
def test_a_refusal_has_a_remedy(azure_vault: AzureVault, operation: str, refusal: server.Refusal, words: str) -> None:
    azure_vault.refusal[operation] = refusal
    with pytest.raises(LocalError, match=words):
        open_azure(azure_vault, "ES256").sign(DATA)


def test_a_key_of_another_usage(azure_vault: AzureVault) -> None:
    azure_vault.operations = ["encrypt", "decrypt"]
    with pytest.raises(LocalError, match="the key does not sign: make one with --ops sign verify"):
        open_azure(azure_vault, "RS256").sign(DATA)


@pytest.mark.parametrize(
    "place",
    [
        "",
        "orders",
        f"{azure.VAULT}/keys/orders",
        f"{azure.VAULT}/keys/orders/",
        "http://orders.vault.azure.net/keys/a/1",
    ],
)
def test_a_version_is_named(place: str) -> None:
    with pytest.raises(LocalError, match="does not name one version of a key"):
        open_signer(f"azurekv:{place}")


def test_a_key_is_opened_by_its_name() -> None:
    assert repr(open_signer(f"azurekv:{azure.VAULT}/keys/orders/{azure.VERSION}")).startswith(
        "Checked('azurekv:https://"
    )
