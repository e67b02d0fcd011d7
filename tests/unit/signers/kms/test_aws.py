"""Keys in AWS KMS: what is sent, what is refused, and what the environment lacks."""

import pytest
from tests.kms import server
from tests.kms.aws import REGION, AwsKms

from affiant.errors import LocalError
from affiant.signers.opening import open_signer

DATA = b"header.claims"


def test_a_long_message_is_hashed_here(aws_kms: AwsKms) -> None:
    for alg, name, size in (("ES512", "ES512", 5000), ("PS384", "RSA", 4097), ("RS256", "RSA", 4097)):
        signer = open_signer(f"awskms:{name}", alg=alg)
        signer.public().verify(alg, b"x" * size, signer.sign(b"x" * size))
        assert aws_kms.requests[-1].members["MessageType"] == "DIGEST"
        signer.sign(b"x" * 4096)
        assert aws_kms.requests[-1].members["MessageType"] == "RAW"


def test_ed25519_signs_no_digest(aws_kms: AwsKms) -> None:
    with pytest.raises(LocalError, match="AWS KMS signs at most 4096 bytes with Ed25519"):
        open_signer("awskms:Ed25519").sign(b"x" * 4097)


def test_an_alias_is_followed_once(aws_kms: AwsKms) -> None:
    aws_kms.keys["other"] = server.key_for("ES256", 2)
    aws_kms.aliases["alias/billing"] = "ES256"
    signer = open_signer("awskms:alias/billing")
    public = signer.public()
    aws_kms.aliases["alias/billing"] = "other"  # the registered key still signs
    public.verify("ES256", DATA, signer.sign(DATA))


def test_an_arn_names_its_region(aws_kms: AwsKms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    open_signer(f"awskms:arn:aws:kms:{REGION}:111122223333:key/ES256").sign(DATA)


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_of_the_environment(aws_kms: AwsKms, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(LocalError, match="the region is missing: set AWS_REGION, or name the key by its ARN"):
        open_signer("awskms:ES256")
    monkeypatch.setenv(variable, REGION)
    open_signer("awskms:ES256").sign(DATA)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "AWS refuses kms:GetPublicKey: allow it for this key"),
        ("DisabledException", "the key is disabled"),
        ("KMSInvalidStateException", "the key is disabled, or will be deleted"),
        ("NotFoundException", f"there is no such key in {REGION}"),
        ("UnsupportedOperationException", "make one with --key-usage SIGN_VERIFY"),
        ("ExpiredTokenException", "AWS does not accept the credentials"),
        ("InvalidSignatureException", "set the clock of this machine"),
        ("BrandNewException", r"AWS refuses kms:GetPublicKey \(BrandNewException\)"),
    ],
)
def test_a_refusal_has_a_remedy(aws_kms: AwsKms, code: str, words: str) -> None:
    aws_kms.code = code
    with pytest.raises(LocalError, match=words) as caught:
        open_signer("awskms:ES256").sign(DATA)
    assert "arn:aws:iam" not in str(caught.value)  # whose sentence is AWS's


def test_the_permission_to_sign_is_named(aws_kms: AwsKms) -> None:
    signer = open_signer("awskms:ES256")
    signer.public()
    aws_kms.code = "AccessDeniedException"
    with pytest.raises(LocalError, match="AWS refuses kms:Sign: allow it for this key"):
        signer.sign(DATA)


def test_a_key_of_another_usage(aws_kms: AwsKms) -> None:
    aws_kms.usage = "ENCRYPT_DECRYPT"
    with pytest.raises(LocalError, match="make one with --key-usage SIGN_VERIFY"):
        open_signer("awskms:RSA").sign(DATA)


def test_no_credentials(aws_kms: AwsKms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(LocalError, match=r"there are no credentials for AWS \(NoCredentialsError\): give this process"):
        open_signer("awskms:ES256").sign(DATA)


def test_a_profile_that_is_missing(aws_kms: AwsKms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(LocalError, match=r"the configuration of AWS cannot be used \(ProfileNotFound\)"):
        open_signer("awskms:ES256")
