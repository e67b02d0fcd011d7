"""Keys in Google Cloud KMS: checksums both ways, the name of the key, and what is refused."""

from typing import Any

import pytest
from tests.kms import gcp
from tests.kms.gcp import GoogleKms

from affiant.errors import LocalError, RemoteError
from affiant.signers.opening import open_signer

DATA = b"header.claims"
NAME = f"gcpkms:{gcp.version('ES256')}"


@pytest.mark.parametrize("alg", ["ES256", "Ed25519", "PS256"])
def test_the_checksum_of_what_is_to_be_signed_is_sent(google_kms: GoogleKms, alg: str) -> None:
    open_signer(f"gcpkms:{gcp.version(alg)}").sign(DATA)
    sent = google_kms.requests[-1].members
    assert {"dataCrc32c", "data"} <= set(sent) if alg == "Ed25519" else {"digestCrc32c", "digest"} <= set(sent)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signatureCrc32c": "7"}, "was changed on its way"),
        ({"signatureCrc32c": None}, "was changed on its way"),
        ({"verifiedDigestCrc32c": False}, "did not verify the checksum of the request"),
        ({"name": gcp.version("ES384")}, "answered for another key"),
        ({"pemCrc32c": "7"}, "was changed on its way"),
    ],
)
def test_what_the_client_library_does_not_check(google_kms: GoogleKms, change: dict[str, Any], words: str) -> None:
    (member,) = change
    google_kms.spoil = lambda answer: answer | (change if member in answer else {})
    with pytest.raises(RemoteError, match=words):
        open_signer(NAME).sign(DATA)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (
            403,
            "PERMISSION_DENIED",
            "refuses cloudkms.cryptoKeyVersions.viewPublicKey: grant roles/cloudkms.signerVerifier",
        ),
        (401, "UNAUTHENTICATED", "does not accept the credentials: run  gcloud auth"),
        (404, "NOT_FOUND", "there is no such key version"),
        (400, "FAILED_PRECONDITION", "the key version is not enabled"),
        (400, "INVALID_ARGUMENT", "make one with --purpose asymmetric-signing"),
        (418, "TEAPOT", r"Google refuses cloudkms.cryptoKeyVersions.viewPublicKey \(TEAPOT\)"),
    ],
)
def test_a_refusal_has_a_remedy(google_kms: GoogleKms, status: int, code: str, words: str) -> None:
    google_kms.refusal = gcp.refuse(status, code)
    with pytest.raises(LocalError, match=words):
        open_signer(NAME).sign(DATA)


def test_the_permission_to_sign_is_named(google_kms: GoogleKms) -> None:
    signer = open_signer(NAME)
    signer.public()
    google_kms.refusal = gcp.refuse(403, "PERMISSION_DENIED")
    with pytest.raises(LocalError, match=r"refuses cloudkms\.cryptoKeyVersions\.useToSign"):
        signer.sign(DATA)


def test_a_key_that_a_jws_does_not_know(google_kms: GoogleKms) -> None:
    with pytest.raises(LocalError, match="is a key for EC_SIGN_SECP256K1_SHA256, which a JWS does not know"):
        open_signer(f"gcpkms:{gcp.version('SECP256K1')}").sign(DATA)


def test_no_credentials(google_kms: GoogleKms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/none.json")
    with pytest.raises(LocalError, match="there are no credentials for Google Cloud"):
        open_signer(NAME).sign(DATA)


@pytest.mark.parametrize(
    "place", ["", "projects/p", gcp.RING + "/k", gcp.version("ES256") + "/x", "x" + gcp.version("k")]
)
def test_a_version_is_named(place: str) -> None:
    with pytest.raises(LocalError, match="does not name one version of a key"):
        open_signer(f"gcpkms:{place}")
