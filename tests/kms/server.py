"""The base of the imitations of a KMS: a real HTTP server, keys, and answers that a test spoils."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from tests.rsa_keys import rsa_2048

from affiant.jose import signature_form

SHA: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
EC = tuple(CURVES)
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OTHERS: dict[str, Any] = {"Ed25519": ed25519.Ed25519PrivateKey, "ML-DSA-65": mldsa.MLDSA65PrivateKey}
Key = Any  # a private key of the package cryptography


def key_for(alg: str, number: int = 1) -> Key:
    """The private key of this number for this algorithm, the same one for all RSA algorithms."""
    return _make(alg if alg in (*CURVES, *_OTHERS) else "RSA", number)


@cache
def _make(kind: str, number: int) -> Key:
    if kind == "RSA":
        return rsa_2048(number)
    return ec.generate_private_key(CURVES[kind]) if kind in CURVES else _OTHERS[kind].generate()


def sign_digest(key: Key, alg: str, digest: bytes) -> bytes:
    """Sign as devices do: DER for ECDSA, and a salt as long as the hash for PSS."""
    kind = Prehashed(SHA[alg[2:]])
    if alg in CURVES:
        return key.sign(digest, ec.ECDSA(kind))  # type: ignore[no-any-return]
    pad: Any = padding.PKCS1v15()
    if alg.startswith("PS"):
        pad = padding.PSS(padding.MGF1(SHA[alg[2:]]), padding.PSS.DIGEST_LENGTH)
    return key.sign(digest, pad, kind)  # type: ignore[no-any-return]


def sign_message(key: Key, alg: str, message: bytes) -> bytes:
    if alg in _OTHERS:
        return key.sign(message)  # type: ignore[no-any-return]
    return sign_digest(key, alg, digest_of(alg, message))


def digest_of(alg: str, message: bytes) -> bytes:
    digest = hashes.Hash(SHA[alg[2:]])
    digest.update(message)
    return digest.finalize()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def raw(alg: str, signature: bytes) -> bytes:
    return signature_form.der_to_raw(alg, signature) if alg in CURVES else signature


class Refusal(Exception):
    """An answer with an error."""

    def __init__(self, status: int, members: Any) -> None:
        super().__init__(status)
        self.status = status
        self.members = members


@dataclass
class Asked:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        members: dict[str, Any] = json.loads(self.body)
        return members


@dataclass
class Answered:
    status: int
    members: Any
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that gives up waiting is what a test wants."""


class Imitation:
    """A KMS on a port of its own. `spoil` changes its good answers; `broken` answers everything."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Asked] = []
        self.spoil: Callable[[dict[str, Any]], dict[str, Any]] = lambda members: members
        self.broken: tuple[int, bytes] | None = None
        self.delay = 0.0
        imitation = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, content, more = imitation._serve(Asked(self.command, self.path, headers, body))
                self.send_response_only(status)
                for name, value in {"Content-Type": imitation.content_type, **more}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _serve  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    content_type = "application/json"

    def answer(self, asked: Asked) -> dict[str, Any]:
        """The members of the answer, or a Refusal."""
        raise NotImplementedError

    def _serve(self, asked: Asked) -> tuple[int, bytes, dict[str, str]]:
        self.requests.append(asked)
        time.sleep(self.delay)
        if self.broken is not None:
            return (*self.broken, {})
        try:
            status, members = 200, self.spoil(self.answer(asked))
        except Refusal as refusal:
            status, members = refusal.status, refusal.members
        return status, json.dumps(members).encode(), self.headers_of(asked, status)

    def headers_of(self, asked: Asked, status: int) -> dict[str, str]:
        return {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End for good: connections are refused."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
