"""An authenticator in software, which can lie: keys and signatures are those of the package cryptography."""

import json
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from affiant.jose import base64url

UP, UV, AT = 0x01, 0x04, 0x40  # flags of authenticator data (WebAuthn section 6.1)


@dataclass
class Authenticator:
    """One discoverable credential; each member is what it tells, true or not."""

    origin: str
    rp_id: str
    flags: int = UP | UV
    count: int = 0
    type: str | None = None  # of the client data; the right one where None
    cross_origin: bool = False
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to PublicKeyCredentialCreationOptionsJSON."""
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cbor2.dumps(cose)
        data = self._data(AT) + attested
        made = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(
            clientDataJSON=self._client("webauthn.create", options), attestationObject=base64url.encode(made)
        )

    def get(self, options: dict[str, Any], handle: str | None) -> dict[str, Any]:
        """Return the answer to PublicKeyCredentialRequestOptionsJSON."""
        self.count += 1
        client, data = self._client("webauthn.get", options), self._data(0)
        signed = data + sha256(base64url.decode(client)).digest()
        return self._answer(
            clientDataJSON=client,
            authenticatorData=base64url.encode(data),
            signature=base64url.encode(self.key.sign(signed, ec.ECDSA(hashes.SHA256()))),
            userHandle=handle,
        )

    def _data(self, more: int) -> bytes:
        return sha256(self.rp_id.encode()).digest() + bytes([self.flags | more]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, options: dict[str, Any]) -> str:
        members = {"type": self.type or kind, "challenge": options["challenge"], "origin": self.origin}
        return base64url.encode(json.dumps(members | {"crossOrigin": self.cross_origin}).encode())

    def _answer(self, **response: str | None) -> dict[str, Any]:
        name = base64url.encode(self.id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
