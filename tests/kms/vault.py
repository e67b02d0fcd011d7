"""An imitation of the transit engine of Vault and OpenBao, with the defaults of `path_sign_verify.go`."""

import base64
import re
import ssl
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.kms import server
from tests.kms.server import Asked, Imitation, Refusal

TYPES = {"ES256": "ecdsa-p256", "ES384": "ecdsa-p384", "ES512": "ecdsa-p521", "Ed25519": "ed25519", "RSA": "rsa-2048"}
TOKEN = "hvs.canary-of-the-token"
_PATH = re.compile(r"/v1/teams/transit/(keys|sign)/([\w-]+)")


class Vault(Imitation):
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.versions = 1  # of every key
        self.kind: str | None = None  # instead of the type of the key

    def answer(self, asked: Asked) -> dict[str, Any]:
        if asked.headers.get("x-vault-token") != TOKEN:
            raise Refusal(403, {"errors": ["permission denied"]})
        found = _PATH.fullmatch(asked.path)
        if found is None or found[2] not in TYPES:
            raise Refusal(404, {"errors": []})
        keys = {str(number): server.key_for(found[2], number) for number in range(1, self.versions + 1)}
        data = self._describe(found[2], keys) if found[1] == "keys" else self._sign(found[2], keys, asked.members)
        return {"request_id": "1", "lease_id": "", "data": data}

    def _describe(self, name: str, keys: dict[str, Any]) -> dict[str, Any]:
        described = {number: {"name": name, "public_key": _text(key.public_key())} for number, key in keys.items()}
        kind = self.kind or TYPES[name]
        return {"type": kind, "latest_version": self.versions, "keys": described, "supports_signing": True}

    def _sign(self, name: str, keys: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
        version = members.get("key_version") or self.versions
        if str(version) not in keys:
            raise Refusal(400, {"errors": ["cannot sign with a key version that does not exist"]})
        key, message = keys[str(version)], base64.b64decode(members["input"])
        # The default is sha2-256 for every type; Ed25519 is not hashed.
        size = members.get("hash_algorithm", "sha2-256").removeprefix("sha2-")
        digest = message if members.get("prehashed") or name == "Ed25519" else server.digest_of(f"ES{size}", message)
        signature = self._made(key, name, size, digest, members)
        if members.get("marshaling_algorithm", "asn1") == "jws":
            text = base64.urlsafe_b64encode(server.raw(name, signature)).rstrip(b"=").decode()
        else:
            text = base64.b64encode(signature).decode()
        return {"signature": f"vault:v{version}:{text}", "key_version": version}

    def _made(self, key: Any, name: str, size: str, digest: bytes, members: dict[str, Any]) -> bytes:
        if name == "Ed25519":
            return key.sign(digest)  # type: ignore[no-any-return]
        if name != "RSA":
            return key.sign(digest, ECDSA(Prehashed(server.SHA[size])))  # type: ignore[no-any-return]
        pad: Any = padding.PKCS1v15()
        if members.get("signature_algorithm", "pss") == "pss":
            is_hash = members.get("salt_length", "auto") == "hash"
            salt = padding.PSS.DIGEST_LENGTH if is_hash else padding.PSS.MAX_LENGTH
            pad = padding.PSS(padding.MGF1(server.SHA[size]), salt)
        return key.sign(digest, pad, Prehashed(server.SHA[size]))  # type: ignore[no-any-return]


def _text(public: Any) -> str:
    if hasattr(public, "public_bytes_raw"):
        return base64.b64encode(public.public_bytes_raw()).decode()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[no-any-return]
