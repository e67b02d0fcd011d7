"""The client that the OpenID conformance suite is, with PyJWT for its signatures and nothing of ours."""

import base64
import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm
from tests.process import Server

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ABSENT = "absent"
TIMEOUT = 20  # seconds
_SPEAKABLE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 5.2


def changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The members with these changes; what is ABSENT is left out."""
    return {name: value for name, value in {**members, **changes}.items() if value is not ABSENT}


def check_error(reply: httpx2.Response, *errors: str) -> dict[str, Any]:
    """What the suite demands of every refusal: status, content type, and members that can be shown."""
    body: dict[str, Any] = reply.json()
    assert reply.headers["content-type"].startswith("application/json")
    assert body["error"] in errors, body
    assert reply.status_code == 400 or (reply.status_code == 401 and body["error"] == "invalid_client")
    assert _SPEAKABLE.fullmatch(body["error"])
    assert _SPEAKABLE.fullmatch(body.get("error_description", "-"))
    assert reply.headers["cache-control"] == "no-store"
    assert "access_token" not in body
    return body


@dataclass
class Prover:
    """A key of the client that its tokens are bound to."""

    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> Self:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def jwk(self) -> dict[str, Any]:
        return dict(ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True))

    @property
    def private_jwk(self) -> dict[str, Any]:
        return dict(ECAlgorithm.to_jwk(self.key, as_dict=True))

    def proof(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        header: dict[str, Any] | None = None,
        signed_by: Any = None,
        alg: str = "ES256",
        **claims: Any,
    ) -> str:
        """A proof for this request, with these changes."""
        members: dict[str, Any] = {"jti": uuid4().hex, "htm": method, "htu": url, "iat": int(time.time())}
        if token is not None:
            members["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        headers = changed({"typ": "dpop+jwt", "jwk": self.jwk}, header or {})
        if "typ" not in headers:
            headers["typ"] = None  # or PyJWT adds its own; what is None it leaves out
        key: Any = self.key if signed_by is None else signed_by
        return jwt.encode(changed(members, claims), "" if alg == "none" else key, alg, headers)


@dataclass
class Client:
    """One of the suite's two clients, registered with its public key."""

    client_id: str
    key: rsa.RSAPrivateKey
    issuer: str
    api: str

    @classmethod
    def register(cls, server: Server, client_id: str, api: str, *more: str, **environment: str) -> Self:
        key = rsa.generate_private_key(65537, 2048)
        path: Path = server.folder / f"{client_id}.pem"
        path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        words = ["client", "new", client_id, "--public-key", str(path), "--alg", "PS256", "--scope", "orders.read"]
        done = server.run(*words, "--resource", api, *more, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return cls(client_id, key, server.issuer, api)

    def assertion(self, *, signed_by: Any = None, alg: str = "PS256", **claims: Any) -> str:
        now = int(time.time())
        members = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "iat": now, "exp": now + 60}
        return jwt.encode(changed({**members, "jti": uuid4().hex}, claims), signed_by or self.key, alg)

    def ask(self, prover: Prover | None, *, proof: str | None = None, **form: Any) -> httpx2.Response:
        """The answer of the token endpoint to a good request, with these changes."""
        members = changed(
            {
                "grant_type": "client_credentials",
                "client_assertion_type": TYPE,
                "client_assertion": form.get("client_assertion") or self.assertion(),
            },
            form,
        )
        url = f"{self.issuer}/token"
        if proof is None and prover is not None:
            proof = prover.proof("POST", url)
        return httpx2.post(url, data=members, headers={"DPoP": proof} if proof else {}, timeout=TIMEOUT)

    def token(self, prover: Prover) -> str:
        reply = self.ask(prover)
        assert reply.status_code == 200, reply.text
        assert reply.json()["token_type"].lower() == "dpop"
        return str(reply.json()["access_token"])

    def call(
        self, token: str, *proofs: str, scheme: str = "DPoP", prover: Prover | None = None, **changes: Any
    ) -> httpx2.Response:
        """The answer of the API to this token, with these proofs, or a good one of this key with these changes."""
        url = f"{self.api}/orders"
        if prover is not None:
            proofs = (prover.proof("GET", url, **{"token": token, **changes}),)
        headers = [("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in proofs)]
        return httpx2.get(url, headers=headers, timeout=TIMEOUT)
