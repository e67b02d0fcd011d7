"""An imitation of AWS KMS: its JSON protocol, and what it refuses (the model in botocore, and its documentation)."""

import base64
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.kms import server
from tests.kms.server import Asked, Imitation, Key, Refusal

ACCOUNT, REGION = "111122223333", "eu-central-1"
SPECS = {
    "ES256": "ECC_NIST_P256",
    "ES384": "ECC_NIST_P384",
    "ES512": "ECC_NIST_P521",
    "Ed25519": "ECC_NIST_EDWARDS25519",
    "ML-DSA-65": "ML_DSA_65",
}
NAMES = {
    **{f"ECDSA_SHA_{size}": f"ES{size}" for size in ("256", "384")},
    "ECDSA_SHA_512": "ES512",
    **{f"RSASSA_PKCS1_V1_5_SHA_{size}": f"RS{size}" for size in ("256", "384", "512")},
    **{f"RSASSA_PSS_SHA_{size}": f"PS{size}" for size in ("256", "384", "512")},
    "ED25519_SHA_512": "Ed25519",
    "ML_DSA_SHAKE_256": "ML-DSA-65",
}
DER = {"encoding": Encoding.DER, "format": PublicFormat.SubjectPublicKeyInfo}


def refuse(code: str, status: int = 400) -> Refusal:
    return Refusal(status, {"__type": code, "message": "User: arn:aws:iam::111122223333:user/x is not authorized"})


class AwsKms(Imitation):
    content_type = "application/x-amz-json-1.1"

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, Key] = {alg: server.key_for(alg) for alg in (*SPECS, "RSA")}
        self.aliases: dict[str, str] = {}
        self.code = ""  # of the error with which everything is refused
        self.usage = "SIGN_VERIFY"

    def answer(self, asked: Asked) -> dict[str, Any]:
        if f"/{REGION}/kms/aws4_request" not in asked.headers["authorization"]:
            raise refuse("InvalidSignatureException", 403)
        if self.code:
            raise refuse(self.code)
        members = asked.members
        name = self.aliases.get(members["KeyId"], members["KeyId"].rpartition("/")[2])
        if name not in self.keys:
            raise refuse("NotFoundException")
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}"
        operation = asked.headers["x-amz-target"].removeprefix("TrentService.")
        return {"KeyId": arn, **(self._public(name) if operation == "GetPublicKey" else self._sign(name, members))}

    def _able(self, name: str) -> list[str]:
        return [named for named, alg in NAMES.items() if alg == name or (name == "RSA" and named.startswith("RSA"))]

    def _public(self, name: str) -> dict[str, Any]:
        public = self.keys[name].public_key().public_bytes(**DER)
        described = {"PublicKey": base64.b64encode(public).decode(), "KeyUsage": self.usage}
        if self.usage != "SIGN_VERIFY":
            return {**described, "KeySpec": "RSA_2048", "EncryptionAlgorithms": ["RSAES_OAEP_SHA_256"]}
        more = ["ED25519_PH_SHA_512"] if name == "Ed25519" else []
        return {**described, "KeySpec": SPECS.get(name, "RSA_2048"), "SigningAlgorithms": self._able(name) + more}

    def _sign(self, name: str, members: dict[str, Any]) -> dict[str, Any]:
        message, named = base64.b64decode(members["Message"]), members["SigningAlgorithm"]
        if not 1 <= len(message) <= 4096:
            raise refuse("ValidationException")
        if named not in self._able(name):
            raise refuse("InvalidKeyUsageException")
        alg = NAMES[named]
        if members.get("MessageType", "RAW") == "RAW":
            signature = server.sign_message(self.keys[name], alg, message)
        else:
            if alg not in (*server.EC, *server.RSA) or len(message) != server.SHA[alg[2:]].digest_size:
                raise refuse("ValidationException")
            signature = server.sign_digest(self.keys[name], alg, message)
        return {"Signature": base64.b64encode(signature).decode(), "SigningAlgorithm": named}
