"""An imitation of Google Cloud KMS over REST: JSON, checksums, and the full names of resources."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import google_crc32c
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.kms import server
from tests.kms.server import Asked, Imitation, Refusal

RING = "projects/shop/locations/europe-west3/keyRings/orders/cryptoKeys"
# CryptoKeyVersion.CryptoKeyVersionAlgorithm; the service answers with numbers if it is asked for (enum-encoding=int).
NUMBERS = {"ES256": 12, "ES384": 13, "Ed25519": 40, "RS256": 5, "RS512": 16, "PS256": 2, "PS512": 15, "SECP256K1": 31}
UNIVERSE = "kms.example"
_PATH = re.compile(rf"/v1/({RING}/(\w+)/cryptoKeyVersions/1)(/publicKey|:asymmetricSign)(\?.*)?")


def version(alg: str) -> str:
    return f"{RING}/{alg}/cryptoKeyVersions/1"


def refuse(status: int, name: str) -> Refusal:
    return Refusal(status, {"error": {"code": status, "status": name, "message": "denied on resource"}})


def credentials(folder: Path) -> Path:
    """The file of a service account, whose library signs its tokens itself, without a request."""
    pem = server.key_for("RS256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "project_id": "shop", "private_key_id": "1", "private_key": pem}
    account |= {"client_email": "x@shop.example", "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token"}
    # In Google's own domain google-auth would ask iamcredentials.googleapis.com for the regions of the account.
    account["universe_domain"] = UNIVERSE
    path = folder / "google.json"
    path.write_text(json.dumps(account))
    return path


def crc(data: bytes) -> str:
    return str(google_crc32c.value(data))  # JSON has numbers of 64 bits as text


class GoogleKms(Imitation):
    def __init__(self) -> None:
        super().__init__()
        self.refusal: Refusal | None = None

    def answer(self, asked: Asked) -> dict[str, Any]:
        if not asked.headers.get("authorization", "").startswith("Bearer "):
            raise refuse(401, "UNAUTHENTICATED")
        if self.refusal is not None:
            raise self.refusal
        found = _PATH.fullmatch(asked.path.replace("%3A", ":"))
        if found is None or found[2] not in NUMBERS:
            raise refuse(404, "NOT_FOUND")
        name, alg = found[1], found[2]
        if found[3] == "/publicKey":
            key = server.key_for(alg if alg != "SECP256K1" else "ES256")
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            return {"name": name, "pem": pem.decode(), "pemCrc32c": crc(pem), "algorithm": NUMBERS[alg]}
        return {"name": name, **self._sign(alg, asked.members)}

    def _sign(self, alg: str, members: dict[str, Any]) -> dict[str, Any]:
        if alg == "Ed25519":
            given, claimed, verified = members.get("data"), members.get("dataCrc32c"), "verifiedDataCrc32c"
        else:
            given, claimed = members.get("digest", {}).get(f"sha{alg[2:]}"), members.get("digestCrc32c")
            verified = "verifiedDigestCrc32c"
        if given is None:
            raise refuse(400, "INVALID_ARGUMENT")
        data = base64.b64decode(given)
        if claimed is not None and str(claimed) != crc(data):
            raise refuse(400, "INVALID_ARGUMENT")
        key = server.key_for(alg)
        signature = key.sign(data) if alg == "Ed25519" else server.sign_digest(key, alg, data)
        encoded = base64.b64encode(signature).decode()
        return {"signature": encoded, "signatureCrc32c": crc(signature), verified: claimed is not None}
