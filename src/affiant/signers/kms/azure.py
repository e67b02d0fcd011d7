"""Keys in Azure Key Vault and Managed HSM (azure-keyvault-keys)."""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Callable
from typing import Any

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm

from affiant.errors import ConfigError, Error, LocalError, RemoteError, Unreachable
from affiant.jose import base64url, keys
from affiant.signers.checked import Checked
from affiant.signers.held import Description, make_signer
from affiant.system import network
from affiant.system.text import printable

TIMEOUTS = {"connection_timeout": 3, "read_timeout": 5, "retry_total": 1}
_VERSIONED = re.compile(r"(https://[A-Za-z0-9.-]+(?::[0-9]+)?)/keys/([A-Za-z0-9-]+)/([0-9a-zA-Z]+)/?")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_REFUSED = "Azure refuses {permission}: assign the role Key Vault Crypto User, or allow it in the access policy"
_MEMBERS = ("n", "e", "x", "y")
# By the code of the inner error; 403 has several meanings.
_FAULTS = {
    "KeyDisabled": "the key is disabled: az keyvault key set-attributes --enabled true",
    "KeyExpired": "the key has expired: name a newer version",
    "KeyNotYetValid": "the key is not valid yet",
    "ForbiddenByFirewall": "the firewall of the vault does not let this machine in: az keyvault network-rule add",
}
_CREDENTIALS = "run  az login,  or give this process a managed identity, or set AZURE_CLIENT_ID and its companions"
_BAD_REQUEST, _FORBIDDEN, _NOT_FOUND, _BUSY, _SERVER_ERROR = 400, 403, 404, 429, 500


class AzureKey:
    """A version of a key in Azure Key Vault.

    Args:
        vault: its URL.
        key: the name of the key.
        version: of the key.
        name: for messages.
        credential: DefaultAzureCredential if left out.
        transport: of azure.core; its own if left out.
    """

    def __init__(
        self, vault: str, key: str, version: str, *, name: str, credential: Any = None, transport: Any = None
    ) -> None:
        self._vault, self._key, self._version = vault, key, version
        self._name = name
        self._credential = credential
        self._options: dict[str, Any] = {**TIMEOUTS, **({"transport": transport} if transport is not None else {})}
        self._used: Any = None
        self._keys: Any = None
        self._client: Any = None

    def connect(self) -> None:
        self._used = self._credential or DefaultAzureCredential()
        self._keys = KeyClient(self._vault, self._used, **self._options)
        weakref.finalize(self, self._keys.close)

    def describe(self) -> Description:
        found = self._ask(lambda: self._keys.get_key(self._key, self._version), "keys/get")
        if found.key is None:
            raise RemoteError(f"{self._name}: Azure did not answer with a public key")
        if "sign" not in (found.key_operations or ()):
            raise LocalError(f"{self._name}: the key does not sign: make one with --ops sign verify")
        members = {
            part: base64url.encode(getattr(found.key, part)) for part in _MEMBERS if getattr(found.key, part, None)
        }
        kty, crv = str(getattr(found.key_type, "value", found.key_type)).removesuffix("-HSM"), found.key.crv
        crv = str(getattr(crv, "value", crv))
        able = _RSA if kty == "RSA" else (_CURVES[crv],) if crv in _CURVES else ()
        self._client = CryptographyClient(found, self._used, **self._options)
        weakref.finalize(self, self._client.close)
        try:
            return Description(
                keys.parse_public_jwk({"kty": kty, **({"crv": crv} if kty == "EC" else {}), **members}).key, able
            )
        except ConfigError as error:
            raise LocalError(f"{self._name} cannot be used: {error}") from None

    def sign(self, alg: str, data: bytes) -> bytes:
        # The client library takes a digest, and returns r and s side by side already.
        digest = hashlib.new(f"sha{alg[2:]}", data).digest()
        signature = self._ask(lambda: self._client.sign(SignatureAlgorithm(alg), digest), "keys/sign").signature
        if not isinstance(signature, bytes):
            raise RemoteError(f"{self._name}: Azure did not answer with a signature")
        return signature

    def _ask(self, call: Callable[[], Any], permission: str) -> Any:
        try:
            return call()
        except ClientAuthenticationError:
            raise LocalError(f"{self._name}: Azure accepts no credentials of this process: {_CREDENTIALS}") from None
        except HttpResponseError as error:
            raise self._refusal(error, permission) from None
        except (ServiceRequestError, ServiceResponseError) as error:
            why = network.failure(error, self._vault, authorities="REQUESTS_CA_BUNDLE")
            raise Unreachable(f"{self._name}: {why}") from None

    def _refusal(self, error: HttpResponseError, permission: str) -> Error:
        status, code = error.status_code or 0, _inner_code(error)
        if status < _BAD_REQUEST:
            return RemoteError(f"{self._name}: the answer of Azure cannot be read")
        if status == _BUSY or status >= _SERVER_ERROR:
            return RemoteError(f"{self._name}: Azure Key Vault cannot sign now ({status})")
        fault = _FAULTS.get(code)
        if fault is None and status == _NOT_FOUND:
            fault = "the vault has no such key or version"
        if fault is None and status != _FORBIDDEN:
            fault = "Azure refuses {permission}"
        return LocalError(f"{self._name}: {(fault or _REFUSED).format(permission=permission)} ({code or status})")


def _inner_code(error: HttpResponseError) -> str:
    inner: Any = getattr(error.error, "innererror", None)
    return printable(inner.get("code") if isinstance(inner, dict) else getattr(inner, "code", None), 80)


def open_key(place: str, *, name: str, alg: str | None = None, kid: str | None = None) -> Checked:
    """Return the signer of ``azurekv:https://VAULT.vault.azure.net/keys/NAME/VERSION``."""
    found = _VERSIONED.fullmatch(place)
    if found is None:
        # Without a version the vault takes the newest key, which the server may not know yet.
        raise LocalError(
            f"{name} does not name one version of a key: azurekv:https://VAULT.vault.azure.net/keys/NAME/VERSION"
        )
    vault, key, version = found.groups()
    return make_signer(AzureKey(vault, key, version, name=name), name=name, alg=alg, kid=kid)
