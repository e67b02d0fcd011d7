"""An imitation of Azure Key Vault: its challenge, r and s side by side, and any digest signed as it comes."""

import base64
import re
import time
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.kms import server
from tests.kms.server import Asked, Imitation, Refusal

VAULT = "https://orders.vault.azure.net"
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PATH = re.compile(r"/keys/(\w+)/([0-9a-f]*)(/sign)?\?api-version=.*")
_CHALLENGE = 'Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net"'
VERSION = "0" * 31 + "1"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int | None = None) -> str:
    return encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(key: Any) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA-HSM", "n": number(numbers.n), "e": number(numbers.e)}
    assert isinstance(public, ec.EllipticCurvePublicKey)
    point, size = public.public_numbers(), (public.key_size + 7) // 8
    return {"kty": "EC", "crv": _CURVES[public.curve.name], "x": number(point.x, size), "y": number(point.y, size)}


def refuse(status: int, code: str, inner: str = "") -> Refusal:
    error: dict[str, Any] = {"code": code, "message": "caller is not authorized"}
    return Refusal(status, {"error": error | ({"innererror": {"code": inner}} if inner else {})})


class Credential:
    """An access token of Entra, as any credential of azure-identity returns it."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://vault.azure.net/.default",)
        return AccessToken("token-of-entra", int(time.time()) + 3600)


class Redirected(RequestsTransport):  # type: ignore[misc]
    """Sends to the imitation what is meant for the vault: the library sends no token without TLS."""

    def __init__(self, url: str, timeouts: dict[str, int]) -> None:
        super().__init__(**timeouts)
        self._url = url

    def send(self, request: Any, **options: Any) -> Any:
        meant = request.url
        request.url = meant.replace(VAULT, self._url)
        try:
            return super().send(request, **options)
        finally:
            request.url = meant


class AzureVault(Imitation):
    def __init__(self) -> None:
        super().__init__()
        self.refusal: dict[str, Refusal] = {}  # by the operation: get or sign
        self.operations = ["sign", "verify"]

    def headers_of(self, asked: Asked, status: int) -> dict[str, str]:
        return {"WWW-Authenticate": _CHALLENGE} if status == 401 else {}

    def answer(self, asked: Asked) -> dict[str, Any]:
        if asked.headers.get("authorization") != "Bearer token-of-entra":
            raise refuse(401, "Unauthorized")
        found = _PATH.fullmatch(asked.path)
        assert found is not None, asked.path
        operation = "sign" if found[3] else "get"
        if operation in self.refusal:
            raise self.refusal[operation]
        key = server.key_for(found[1])
        kid = f"{VAULT}/keys/{found[1]}/{VERSION}"
        if operation == "get":
            attributes = {"enabled": True, "created": 1, "updated": 1}
            return {"key": {"kid": kid, "key_ops": self.operations, **jwk(key)}, "attributes": attributes}
        members = asked.members
        alg, digest = members["alg"], base64.urlsafe_b64decode(members["value"] + "==")
        return {"kid": kid, "value": encode(server.raw(alg, server.sign_digest(key, alg, digest)))}
