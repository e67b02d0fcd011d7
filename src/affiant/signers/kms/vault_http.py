"""Requests to HashiCorp Vault and OpenBao, with what the environment says of their server."""

from __future__ import annotations

import json
import os
import ssl
import time
from pathlib import Path
from typing import Any

import httpx2

from affiant.errors import ConfigError, LocalError, RemoteError, Unreachable
from affiant.system import network
from affiant.system.files import read_private
from affiant.system.urls import is_safe_url

ADDRESS, TOKEN, TOKEN_FILE = "VAULT_ADDR", "VAULT_TOKEN", "VAULT_TOKEN_FILE"
NAMESPACE, AUTHORITY = "VAULT_NAMESPACE", "VAULT_CACERT"
_TIMEOUT = httpx2.Timeout(5.0, connect=3.0)
_LONGEST = 10.0  # seconds for a whole answer
_MAX_ANSWER = 1 << 20  # bytes: the public keys of all versions
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_REDIRECTS = range(300, 400)
_LATER = (*range(500, 600), 412, 429)  # 412: a standby has not seen the newest write yet


class VaultServer:
    """The server that the environment names."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._address = os.environ.get(ADDRESS, "").rstrip("/")
        if not self._address:
            raise LocalError(f"{name}: the address is missing: set {ADDRESS}, such as https://vault.example:8200")
        if not is_safe_url(self._address):  # the token would be sent in clear text
            raise LocalError(f"{name}: {ADDRESS} must be an https URL (http only on loopback)")
        self._tls = self._read_authorities()
        self._token()  # a missing one is an error at once

    def call(self, method: str, path: str, *, right: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the data of an answer; `right` is the capability that the token's policy needs for the path."""
        url = f"{self._address}/v1/{path}"
        try:
            status, answer = self._send(method, url, body)
        except ConfigError as error:
            raise LocalError(f"{self._name}: {error}") from None
        except httpx2.RequestError as error:
            why = network.failure(error, url, proxy=network.find_proxy(url), authorities=AUTHORITY)
            raise Unreachable(f"{self._name}: {why}") from None
        if status != _OK:
            raise self._refusal(status, path, right)
        try:
            data = json.loads(answer)["data"]
        except (ValueError, RecursionError, KeyError, TypeError):
            data = None
        if not isinstance(data, dict):
            raise RemoteError(f"{self._name}: {ADDRESS} did not answer like Vault: is it the address of one?")
        return data

    def _send(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        end = time.monotonic() + _LONGEST
        # A connection for each call: they are rare, and a pool does not survive a fork.
        with (
            network.http_client(verify=self._tls, timeout=_TIMEOUT) as http,
            http.stream(method, url, headers=self._headers(), json=body) as response,
        ):
            answer = b""
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > _MAX_ANSWER or time.monotonic() > end:
                    raise RemoteError(f"{self._name}: the answer of Vault is too long, or takes too long")
            return response.status_code, answer

    def _headers(self) -> dict[str, str]:
        # Never a local variable where something may fail: some reporters of errors show those.
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true", "Accept-Encoding": "identity"}
        if os.environ.get(NAMESPACE):
            headers["X-Vault-Namespace"] = os.environ[NAMESPACE]
        return headers

    def _refusal(self, status: int, path: str, right: str) -> LocalError | RemoteError:
        # Never what the server says: its sentences may repeat what was sent.
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            why = f"Vault refuses the token: it has expired, or no policy of it allows {right} on {path}"
        elif status == _NOT_FOUND:
            why = f"Vault has no key at {path}: is this the mount of the transit engine, and {NAMESPACE} the namespace?"
        elif status in _REDIRECTS:  # Attack: another server gets the token
            why = f"Vault answered with a redirect, which is not followed: set {ADDRESS} to the active server"
        elif status not in _LATER:
            why = f"Vault refuses {path}: is the key of a type that signs, and its version not too old?"
        else:
            return RemoteError(f"{self._name}: Vault cannot sign now ({status}): is it sealed, or too busy?")
        return LocalError(f"{self._name}: {why} ({status})")

    def _token(self) -> str:
        """Return the token; the file is read each time, since an agent renews it."""
        named = os.environ.get(TOKEN_FILE)
        try:
            # Neither the token nor the environment is a local variable when this fails: some reporters show those.
            token = (
                read_private(Path(named), what="the token of Vault", variable=TOKEN).decode("ascii")
                if named
                else os.environ.get(TOKEN, "")
            )
        except (OSError, UnicodeDecodeError):  # not chained: it has the bytes of the secret
            raise LocalError(
                f"{self._name}: the file that {TOKEN_FILE} names does not exist, or has no token"
            ) from None
        except ConfigError as error:
            raise LocalError(f"{self._name}: {error}") from None
        token = token.strip()
        if not token.isprintable():
            token = ""
        if not token:
            raise LocalError(f"{self._name}: the token is missing: set {TOKEN_FILE} to a file, or {TOKEN}")
        return token

    def _read_authorities(self) -> ssl.SSLContext:
        named = os.environ.get(AUTHORITY)
        try:
            return ssl.create_default_context(cafile=named) if named else network.authorities()
        except (OSError, ConfigError) as error:
            why = (
                error
                if isinstance(error, ConfigError)
                else f"{AUTHORITY} names {named}, which is no PEM of certificates"
            )
            raise LocalError(f"{self._name}: {why}") from None
