"""Keys in AWS KMS (boto3)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
)
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from affiant.errors import Error, LocalError, RemoteError, Unreachable
from affiant.jose.signature_form import find_raw
from affiant.signers.checked import Checked
from affiant.signers.held import Description, make_signer
from affiant.system import network
from affiant.system.text import printable

MAX_RAW = 4096  # bytes of a message that KMS hashes itself; botocore does not check it
_TIMEOUTS = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
_ML_DSA, _ED25519 = "ML_DSA_SHAKE_256", "ED25519_SHA_512"
_NAMES = {
    "ES256": "ECDSA_SHA_256",
    "ES384": "ECDSA_SHA_384",
    "ES512": "ECDSA_SHA_512",
    **{f"RS{size}": f"RSASSA_PKCS1_V1_5_SHA_{size}" for size in (256, 384, 512)},
    **{f"PS{size}": f"RSASSA_PSS_SHA_{size}" for size in (256, 384, 512)},
    "Ed25519": _ED25519,
    "EdDSA": _ED25519,
    **{f"ML-DSA-{size}": _ML_DSA for size in (44, 65, 87)},
}
_DISABLED = "the key is disabled, or will be deleted: aws kms enable-key, or aws kms cancel-key-deletion"
_NO_SIGNING = "the key does not sign: make one with --key-usage SIGN_VERIFY"
_CREDENTIALS = "AWS does not accept the credentials: renew them (aws sts get-caller-identity shows whose they are)"
# By the code of an error.
_FAULTS = {
    "AccessDeniedException": "AWS refuses {action}: allow it for this key in an IAM policy, or in the key's policy",
    "DisabledException": _DISABLED,
    "KMSInvalidStateException": _DISABLED,
    "NotFoundException": "there is no such key in {place}: is this the account and region of the key?",
    "InvalidArnException": "this is not the ARN of a KMS key",
    "InvalidKeyUsageException": _NO_SIGNING,
    "UnsupportedOperationException": _NO_SIGNING,
    "UnrecognizedClientException": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "InvalidSignatureException": f"{_CREDENTIALS}, and set the clock of this machine",
    "IncompleteSignature": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
}
_LATER = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "KeyUnavailableException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
_BUSY, _SERVER_ERROR = 429, 500


class AwsKey:
    """A key in AWS KMS."""

    def __init__(self, key_id: str, name: str) -> None:
        self._name = name
        self._key_id = key_id
        self._client: Any = None
        with self._configured():
            self._session = boto3.session.Session()
            # boto3 does not read AWS_REGION, which Lambda, ECS and the other SDKs have.
            self._region = _region(key_id) or self._session.region_name or os.environ.get("AWS_REGION")
        if self._region is None:
            raise LocalError(f"{name}: the region is missing: set AWS_REGION, or name the key by its ARN")

    def connect(self) -> None:
        with self._configured():  # not before it is used: the search for credentials may ask the network
            self._client = self._session.client("kms", region_name=self._region, config=_TIMEOUTS)
        weakref.finalize(self, self._client.close)

    def describe(self) -> Description:
        answer = self._ask(self._client.get_public_key, "kms:GetPublicKey", {"KeyId": self._key_id})
        # An alias may be moved to another key: the key that was described signs.
        self._key_id = answer.get("KeyId", self._key_id)
        able = frozenset(answer.get("SigningAlgorithms", ()))
        if not able:
            raise LocalError(f"{self._name}: {_NO_SIGNING}")
        try:
            key = load_der_public_key(answer["PublicKey"])
        except (KeyError, ValueError, TypeError, UnsupportedAlgorithm):
            raise RemoteError(f"{self._name}: AWS KMS did not answer with a public key") from None
        return Description(key, tuple(alg for alg, named in _NAMES.items() if named in able))

    def sign(self, alg: str, data: bytes) -> bytes:
        request = {"KeyId": self._key_id, "SigningAlgorithm": _NAMES[alg], "MessageType": "RAW", "Message": data}
        if len(data) > MAX_RAW:
            if _NAMES[alg] in (_ML_DSA, _ED25519):
                raise LocalError(f"{self._name}: AWS KMS signs at most {MAX_RAW} bytes with {alg}: claim less")
            request |= {"MessageType": "DIGEST", "Message": hashlib.new(f"sha{alg[2:]}", data).digest()}
        signature = self._ask(self._client.sign, "kms:Sign", request).get("Signature")
        if not isinstance(signature, bytes):
            raise RemoteError(f"{self._name}: AWS KMS did not answer with a signature")
        return find_raw(alg, signature)

    def _ask(self, call: Callable[..., Any], action: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = call(**request)
        except ClientError as error:
            raise self._refusal(error, action) from None
        except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError) as error:
            raise LocalError(
                f"{self._name}: there are no credentials for AWS ({type(error).__name__}): give this process a role,"
                " or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        except (ConnectionError, HTTPClientError) as error:
            url = self._client.meta.endpoint_url
            raise Unreachable(f"{self._name}: {network.failure(error, url, authorities='AWS_CA_BUNDLE')}") from None
        return answer

    @contextlib.contextmanager
    def _configured(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ValueError) as error:
            why = type(error).__name__
            raise LocalError(
                f"{self._name}: the configuration of AWS cannot be used ({why}): see ~/.aws/config"
            ) from None

    def _refusal(self, error: ClientError, action: str) -> Error:
        code = printable(error.response.get("Error", {}).get("Code"), 80)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _LATER or status == _BUSY or status >= _SERVER_ERROR:
            return RemoteError(f"{self._name}: AWS KMS cannot sign now ({code or status})")
        fault = _FAULTS.get(code, "AWS refuses {action}").format(action=action, place=self._region)
        return LocalError(f"{self._name}: {fault} ({code})")


def _region(key_id: str) -> str | None:
    """Return the region in an ARN (arn:PARTITION:kms:REGION:ACCOUNT:key/ID)."""
    parts = key_id.split(":")
    return parts[3] or None if parts[0] == "arn" and len(parts) > 4 else None  # noqa: PLR2004


def open_key(place: str, *, name: str, alg: str | None = None, kid: str | None = None) -> Checked:
    """Return the signer of ``awskms:KEY``: an id, an ARN, or an alias (alias/NAME)."""
    if not place:
        raise LocalError("awskms: names no key: write awskms:KEY_ID, awskms:alias/NAME or awskms:ARN")
    return make_signer(AwsKey(place, name), name=name, alg=alg, kid=kid)
