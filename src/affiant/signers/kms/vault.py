"""Keys in the transit engine of HashiCorp Vault and OpenBao."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode, urlsafe_b64decode
from typing import Any
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from affiant.errors import LocalError, RemoteError
from affiant.signers.checked import Checked
from affiant.signers.held import Description, make_signer
from affiant.signers.kms.vault_http import VaultServer

_PLACE = re.compile(r"((?:[\w.-]+/)+)([\w.-]+)(?::([1-9][0-9]{0,8}))?", re.ASCII)
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ALGORITHMS = {
    "ecdsa-p256": ("ES256",),
    "ecdsa-p384": ("ES384",),
    "ecdsa-p521": ("ES512",),
    "ed25519": ("Ed25519",),
    **{f"rsa-{bits}": _RSA for bits in (2048, 3072, 4096)},
}


class VaultKey:
    """A version of a key in a transit engine: the newest at the first use, unless one is named."""

    def __init__(self, server: VaultServer, mount: str, key: str, version: int | None, name: str) -> None:
        self._server = server
        self._mount, self._key, self._version = quote(mount), quote(key), version
        self._name = name

    def connect(self) -> None:
        """Do nothing: each call has a connection of its own."""

    def describe(self) -> Description:
        found = self._server.call("GET", f"{self._mount}/keys/{self._key}", right="read")
        kind = found.get("type")
        if kind not in _ALGORITHMS:
            raise LocalError(
                f"{self._name} is a key of the type {kind!r}, which signs no JWS: {' or '.join(_ALGORITHMS)}"
            )
        # Pinned: after a rotation in Vault the registered key still signs.
        version = self._version or found.get("latest_version")
        versions = found.get("keys")
        one = versions.get(str(version)) if isinstance(versions, dict) else None
        if not isinstance(one, dict) or not isinstance(version, int):
            raise LocalError(f"{self._name}: Vault has no version {version} of the key any more: name one that it has")
        self._version = version
        try:
            text = one["public_key"]
            key: Any = (
                Ed25519PublicKey.from_public_bytes(b64decode(text, validate=True))
                if kind == "ed25519"
                else load_pem_public_key(text.encode())
            )
        except (KeyError, ValueError, AttributeError, TypeError, UnsupportedAlgorithm):
            raise RemoteError(f"{self._name}: Vault did not answer with a public key") from None
        return Description(key, _ALGORITHMS[kind])

    def sign(self, alg: str, data: bytes) -> bytes:
        # All of them, always: the defaults are DER, SHA-256 also for P-384, and for RSA PSS with the longest salt.
        request = {
            "input": b64encode(data).decode("ascii"),
            "prehashed": False,
            "hash_algorithm": "sha2-512" if alg in ("Ed25519", "EdDSA") else f"sha2-{alg[2:]}",
            "marshaling_algorithm": "jws",
            "signature_algorithm": "pkcs1v15" if alg.startswith("RS") else "pss",
            "salt_length": "hash",
            "key_version": self._version,
        }
        answer = self._server.call("POST", f"{self._mount}/sign/{self._key}", right="update", body=request)
        scheme, _, rest = str(answer.get("signature")).partition(":")
        version, _, signature = rest.partition(":")
        try:
            if (scheme, version) != ("vault", f"v{self._version}"):
                raise ValueError("another version")
            # A server that ignores "jws" answers with the other alphabet, and with DER, which the caller reports.
            return urlsafe_b64decode(signature.translate(_URL_SAFE) + "=" * (-len(signature) % 4))
        except ValueError:
            raise RemoteError(
                f"{self._name}: Vault did not answer with a signature by version {self._version}"
            ) from None


_URL_SAFE = str.maketrans("+/", "-_")


def open_key(place: str, *, name: str, alg: str | None = None, kid: str | None = None) -> Checked:
    """Return the signer of ``vault:MOUNT/KEY`` or ``vault:MOUNT/KEY:VERSION``, at the server that VAULT_ADDR names."""
    found = _PLACE.fullmatch(place)
    if found is None or ".." in place:
        raise LocalError(
            f"{name} does not name a key: vault:MOUNT/KEY, such as vault:transit/billing, or with :VERSION"
        )
    mount, key, version = found.groups()
    server = VaultServer(name)
    return make_signer(
        VaultKey(server, mount.rstrip("/"), key, int(version) if version else None, name), name=name, alg=alg, kid=kid
    )
