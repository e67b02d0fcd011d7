"""Somebody who builds a token request by hand, makes one mistake, and types what explain prints."""

import base64
import hashlib
import hmac
import json
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from affiant import testing
from affiant.oauth import names

TOKEN = "{token}"  # where the finished assertion goes
Names = dict[str, Any]


class Clock:
    """The caller's clock, as the module `time`."""

    def __init__(self, right: testing.Clock, offset: float) -> None:
        self._right, self.offset = right, offset

    def time(self) -> float:
        return self._right.now + self.offset


def raw(signature: bytes, size: int) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))


def sign(alg: str, key: Any, data: bytes) -> bytes:
    """By hand, with what the algorithm's name says."""
    if alg == "none":
        return b""
    if alg.startswith("HS"):
        if not isinstance(key, bytes):  # the classic: the public key taken for a secret
            key = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        return hmac.digest(key, data, f"sha{alg[2:]}")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return raw(key.sign(data, ec.ECDSA(hashes.SHA256())), 32)
    assert isinstance(key, rsa.RSAPrivateKey)
    if alg.startswith("PS"):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return key.sign(data, pss, hashes.SHA256())
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


@dataclass(slots=True)
class Request:
    """What goes out."""

    method: str
    url: str
    headers: dict[str, str]
    body: str

    def as_http(self) -> str:
        head = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{self.method} {self.url} HTTP/1.1\n{head}\n{self.body}"

    def as_curl(self) -> str:
        words = ["curl", "-s", "-X", self.method, self.url]
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {value}"]
        return shlex.join([*words, *(["--data-raw", self.body] if self.body else [])])

    def as_har(self) -> str:
        headers = [{"name": name, "value": value} for name, value in self.headers.items()]
        request = {"method": self.method, "url": self.url, "headers": headers, "postData": {"text": self.body}}
        return json.dumps({"log": {"entries": [{"request": request}]}})


@dataclass(slots=True)
class Caller:
    """One client's code: the same request each time, with its mistake, and with the fixes typed since.

    Attributes:
        client_id: who calls.
        issuer: of the server.
        key: what signs; None for the secret.
        clock: the caller's.
        alg: what the client is registered for.
        early: the mistake in what is put together.
        at_input: the mistake in what is signed.
        at_signature: the mistake in what becomes of the signature.
    """

    client_id: str
    issuer: str
    key: Any
    clock: Clock
    alg: str = "ES256"
    kid: str | None = None
    secret: str = ""
    early: Callable[[Names], None] = lambda _: None
    at_input: Callable[[Names], None] = lambda _: None
    at_signature: Callable[[Names], None] = lambda _: None
    fixes: list[str] = field(default_factory=list)

    def build(self) -> Request:
        """Put the request together."""
        these = self._names()
        self.early(these)
        self._type(these, lambda line: not line.startswith(("signing_input", "signature")))
        token = these["token"] if these["token"] != TOKEN else self._token(these)
        form = {name: value.replace(TOKEN, token) for name, value in these["form"].items()}
        query = {name: value.replace(TOKEN, token) for name, value in these["query"].items()}
        is_json = "json" in these["headers"].get("Content-Type", "")
        body = (json.dumps(form) if is_json else urlencode(form)) if form else ""
        url = f"{self.issuer}/token" + (f"?{urlencode(query)}" if query else "")
        return Request(these["method"], url, these["headers"], body)

    def _names(self) -> Names:
        now = int(self.clock.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "iat": now, "exp": now + 60}
        header = {"alg": self.alg, "typ": "JWT", **({"kid": self.kid} if self.kid else {})}
        form = {
            "grant_type": names.CLIENT_CREDENTIALS,
            "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
            "client_assertion": TOKEN,
        }
        return {
            "claims": {**claims, "jti": secrets.token_urlsafe(16)},
            "header": header,
            "form": form,
            "query": {},
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            "method": "POST",
            "alg": self.alg,
            "key": self.key,
            "secret": self.secret,
            "credentials": {"client_secret": self.secret},
            "token": TOKEN,
            "encode": lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode(),
            "write": lambda value: json.dumps(value, separators=(",", ":")).encode(),
            # What a line of explain may use.
            "time": self.clock,
            "base64": base64,
            "secrets": secrets,
            "jwt": jwt,
            "hashlib": hashlib,
            "decode_dss_signature": decode_dss_signature,
        }

    def _token(self, these: Names) -> str:
        encode, write = these["encode"], these["write"]
        head, payload = encode(write(these["header"])), encode(write(these["claims"]))
        these["token"] = f"{head}.{payload}."
        these["signing_input"] = f"{head}.{payload}".encode()
        self.at_input(these)
        self._type(these, lambda line: line.startswith("signing_input"))
        key = these["key"] if these["key"] is not None else these["secret"].encode()
        these["signature"] = sign(these["alg"], key, these["signing_input"])
        self.at_signature(these)
        self._type(these, lambda line: line.startswith("signature"))
        return f"{head}.{payload}.{encode(these['signature'])}"

    def _type(self, these: Names, belongs_here: Callable[[str], bool]) -> None:
        for line in filter(belongs_here, self.fixes):
            exec(line, these)  # the very line that explain printed
