"""Keys in Google Cloud KMS (google-cloud-kms, over REST: gRPC does not survive a fork)."""

from __future__ import annotations

import hashlib
import os
import re
import weakref
from collections.abc import Callable
from typing import Any

import google_crc32c
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud.kms_v1 import CryptoKeyVersion, KeyManagementServiceClient
from requests.exceptions import RequestException

from affiant.errors import Error, LocalError, RemoteError, Unreachable
from affiant.jose.signature_form import find_raw
from affiant.signers.checked import Checked
from affiant.signers.held import Description, make_signer
from affiant.system import forks, network

SECONDS = 5.0
ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"  # gcloud's name for another address of the service
_VERSION = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+/cryptoKeyVersions/[0-9]+")
_RSA = re.compile(r"RSA_SIGN_(PSS|PKCS1)_[0-9]+_SHA(256|384|512)")
_OTHERS = {"EC_SIGN_P256_SHA256": "ES256", "EC_SIGN_P384_SHA384": "ES384", "EC_SIGN_ED25519": "Ed25519"}
_CREDENTIALS = "run  gcloud auth application-default login,  or name a file in GOOGLE_APPLICATION_CREDENTIALS"
# By the status of an error (google.rpc.Code).
_FAULTS = {
    "PERMISSION_DENIED": "Google refuses {permission}: grant roles/cloudkms.signerVerifier on the key",
    "UNAUTHENTICATED": f"Google does not accept the credentials: {_CREDENTIALS}",
    "NOT_FOUND": "there is no such key version",
    "FAILED_PRECONDITION": "the key version is not enabled: gcloud kms keys versions enable, or restore",
    "INVALID_ARGUMENT": "the key does not sign like this: make one with --purpose asymmetric-signing",
}
_BUSY, _SERVER_ERROR = 429, 500


class GoogleKey:
    """A version of a key in Google Cloud KMS."""

    def __init__(self, version: str, name: str) -> None:
        self._version = version
        self._name = name
        self._endpoint = os.environ.get(ENDPOINT, "").rstrip("/") or "https://cloudkms.googleapis.com"
        self._lock = forks.Lock()
        self._client: Any = None

    def connect(self) -> None:
        self._client = None

    def describe(self) -> Description:
        answer = self._ask("get_public_key", "cloudkms.cryptoKeyVersions.viewPublicKey", {})
        self._check(answer.pem.encode(), answer.pem_crc32c)
        algorithm = CryptoKeyVersion.CryptoKeyVersionAlgorithm(answer.algorithm).name
        found = _RSA.fullmatch(algorithm)
        alg = f"{'PS' if found[1] == 'PSS' else 'RS'}{found[2]}" if found else _OTHERS.get(algorithm)
        if alg is None:
            raise LocalError(f"{self._name} is a key for {algorithm}, which a JWS does not know")
        try:
            return Description(load_pem_public_key(answer.pem.encode()), (alg,))
        except (ValueError, UnsupportedAlgorithm):
            raise RemoteError(f"{self._name}: Google did not answer with a public key") from None

    def sign(self, alg: str, data: bytes) -> bytes:
        if alg in ("Ed25519", "EdDSA"):
            request: dict[str, Any] = {"data": data, "data_crc32c": google_crc32c.value(data)}
        else:
            digest = hashlib.new(f"sha{alg[2:]}", data).digest()
            request = {"digest": {f"sha{alg[2:]}": digest}, "digest_crc32c": google_crc32c.value(digest)}
        answer = self._ask("asymmetric_sign", "cloudkms.cryptoKeyVersions.useToSign", request)
        self._check(answer.signature, answer.signature_crc32c)
        if not (answer.verified_data_crc32c if "data" in request else answer.verified_digest_crc32c):
            raise RemoteError(
                f"{self._name}: Google did not verify the checksum of the request: it may have been changed"
            )
        return find_raw(alg, bytes(answer.signature))

    def _check(self, data: bytes, checksum: int | None) -> None:
        # The client library checks nothing.
        if checksum != google_crc32c.value(data):
            raise RemoteError(f"{self._name}: the answer of Google was changed on its way (CRC32C)")

    def _ask(self, method: str, permission: str, request: dict[str, Any]) -> Any:
        try:
            call: Callable[..., Any] = getattr(self._open(), method)
            answer = call(request={"name": self._version, **request}, timeout=SECONDS, retry=None)
        except GoogleAPICallError as error:
            raise self._refusal(error, permission) from None
        except (RequestException, TransportError) as error:
            why = network.failure(error, self._endpoint, authorities="REQUESTS_CA_BUNDLE")
            raise Unreachable(f"{self._name}: {why}") from None
        except DefaultCredentialsError:
            raise LocalError(f"{self._name}: there are no credentials for Google Cloud: {_CREDENTIALS}") from None
        except GoogleAuthError as error:
            raise LocalError(
                f"{self._name}: the credentials for Google Cloud fail ({type(error).__name__}): {_CREDENTIALS}"
            ) from None
        if answer.name != self._version:
            raise RemoteError(f"{self._name}: Google answered for another key")
        return answer

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:  # not before it is used: the search for credentials may ask the network
                options = {"api_endpoint": self._endpoint}
                self._client = KeyManagementServiceClient(transport="rest", client_options=options)
                weakref.finalize(self, self._client.transport.close)
            return self._client

    def _refusal(self, error: GoogleAPICallError, permission: str) -> Error:
        status = _status(error)
        if error.code is not None and (error.code >= _SERVER_ERROR or error.code == _BUSY):
            return RemoteError(f"{self._name}: Google Cloud KMS cannot sign now ({error.code})")
        fault = _FAULTS.get(status, "Google refuses {permission}").format(permission=permission)
        return LocalError(f"{self._name}: {fault} ({status or error.code})")


def _status(error: GoogleAPICallError) -> str:
    """Return the name of the status, such as NOT_FOUND."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def open_key(place: str, *, name: str, alg: str | None = None, kid: str | None = None) -> Checked:
    """Return the signer of ``gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N``."""
    if _VERSION.fullmatch(place) is None:
        raise LocalError(
            f"{name} does not name one version of a key:"
            " gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N"
        )
    return make_signer(GoogleKey(place, name), name=name, alg=alg, kid=kid)
