"""A client without our SDK registers itself at a real server with two workers, and looks after itself."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import httpx2
import jwt
import pytest
from tests.process import Server

from affiant import testing
from affiant.cli.connection.data import with_store
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.server.keys.master_key import MasterKey
from affiant.server.registration import initial_tokens
from affiant.storage.ports import Store
from affiant.testing import ABSENT

PUBLISHER, PUBLISHER_ISSUER = keys.generate("ES256"), "https://publisher.example"
API = "https://orders.example"
SETTLED = 5.0  # seconds after which every worker knows for certain what another one committed


def _invite(server: Server, **options: Any) -> str:
    """An initial access token, made on the data folder of the running server."""
    options = {"scope": ("orders.read",), "resources": (API,), "lifetime_seconds": 600, "uses": 1, **options}

    async def issue(store: Store, master_key: MasterKey) -> str:
        _, text = await initial_tokens.issue(store, master_key, now=int(time.time()), **options)
        return text

    return with_store(server.folder / "affiant-data", issue)


def _jwks(key: PrivateKey) -> dict[str, Any]:
    return {"keys": [key.public().to_jwk()]}


@dataclass
class Foreign:
    """A client that has nothing of ours: httpx2 for its requests, PyJWT for its assertions."""

    metadata: dict[str, Any]
    told: dict[str, Any]
    key: PrivateKey

    @classmethod
    def register(cls, server: Server, token: str, key: PrivateKey, **more: Any) -> Self:
        found = httpx2.get(f"{server.issuer}/.well-known/oauth-authorization-server", timeout=20).json()
        sent = {"client_name": "Foreign", "token_endpoint_auth_method": "private_key_jwt", "jwks": _jwks(key), **more}
        reply = httpx2.post(found["registration_endpoint"], json=sent, headers=_bearer(token), timeout=20)
        assert reply.status_code == 201, reply.text
        return cls(found, reply.json(), key)

    @property
    def client_id(self) -> str:
        return str(self.told["client_id"])

    def manage(self, method: str, **options: Any) -> httpx2.Response:
        headers = _bearer(self.told["registration_access_token"])
        return httpx2.request(method, self.told["registration_client_uri"], headers=headers, timeout=20, **options)

    def proof(self) -> dict[str, str]:
        """Never the same twice."""
        now, name = int(time.time()), self.client_id
        claims = {"iss": name, "sub": name, "aud": self.metadata["issuer"], "iat": now, "exp": now + 60}
        private = jwt.PyJWK(self.key.to_jwk(), algorithm="ES256")
        text = jwt.encode({**claims, "jti": str(time.time_ns())}, private, headers={"kid": self.key.kid})
        return testing.form(text, grant_type=ABSENT)

    def ask(self) -> httpx2.Response:
        form = {"grant_type": "client_credentials", "scope": "orders.read", "resource": API, **self.proof()}
        return httpx2.post(self.metadata["token_endpoint"], data=form, timeout=20)

    def until(self, status: int) -> httpx2.Response:
        """Ask until the answer is this one from eight requests on end, so that both workers have said so."""
        end, on_end = time.monotonic() + SETTLED, 0
        while True:
            reply = self.ask()
            on_end = on_end + 1 if reply.status_code == status else 0
            if on_end == 8:
                return reply
            assert time.monotonic() < end, f"{reply.status_code} {reply.text}"


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _is_active(server: Server, token: str) -> bool:
    """As a client sees it that may introspect for the API."""
    reader = server.credentials("reader")
    form = {"client_id": "reader", "client_secret": reader["client_secret"], "token": token}
    reply = httpx2.post(f"{server.issuer}/introspect", data=form, timeout=20)
    assert reply.status_code == 200, reply.text
    return bool(reply.json()["active"])


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers, which trusts one publisher of software."""
    folder = tmp_path_factory.mktemp("registrar")
    (folder / "publisher.jwks.json").write_text(json.dumps(_jwks(PUBLISHER)))
    (folder / "affiant.toml").write_text(
        f'[software_statement_issuers]\n"{PUBLISHER_ISSUER}" = "publisher.jwks.json"\n'
    )
    with Server(folder, workers=2) as server:
        server.add_api()
        server.affiant("client", "new", "reader", "--auth", "client_secret_post", "--introspect", API)
        yield server


@pytest.mark.rfc(7592, "2")
def test_a_whole_life(registrar: Server) -> None:
    """Registered, used, read, given a new key, deleted; then its token is good for nothing, at both workers."""
    client = Foreign.register(registrar, _invite(registrar), keys.generate("ES256"))
    token = client.until(200).json()["access_token"]
    assert _is_active(registrar, token)
    assert client.manage("GET").json() == client.told

    old, client.key = client.key, keys.generate("ES256")
    replaced = client.manage("PUT", json={**_sent(client), "jwks": _jwks(client.key), "client_name": "Renewed"})
    assert (replaced.status_code, replaced.json()["client_name"]) == (200, "Renewed")
    client.until(200)
    new, client.key = client.key, old
    client.until(401)
    client.key = new
    assert _is_active(registrar, token), "a key that was replaced was not stolen"

    assert client.manage("DELETE").status_code == 204
    assert client.until(401).json()["error"] == "invalid_client"
    assert [_is_active(registrar, token) for _ in range(8)] == [False] * 8
    assert client.manage("GET").status_code == 401
    registrar.affiant("audit", "verify")


def _sent(client: Foreign) -> dict[str, Any]:
    left_out = ("client_id_issued_at", "registration_access_token", "registration_client_uri")
    return {name: value for name, value in client.told.items() if name not in left_out}


@pytest.mark.rfc(7591, "3")
def test_one_use_lets_one_in_at_both_workers(registrar: Server) -> None:
    token, key = _invite(registrar), keys.generate("ES256")
    Foreign.register(registrar, token, key)
    for _ in range(8):
        reply = httpx2.post(f"{registrar.issuer}/register", json={"jwks": _jwks(key)}, headers=_bearer(token))
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_token")


@pytest.mark.rfc(7591, "2.3")
def test_a_software_statement(registrar: Server) -> None:
    """Of the publisher whom the file names; the same of anybody else is refused, and uses nothing up."""
    token, key = _invite(registrar), keys.generate("ES256")
    stranger = keys.generate("ES256")
    claims = {"iss": PUBLISHER_ISSUER, "software_id": "billing", "client_name": "By the publisher"}

    def statement(signer: PrivateKey, **more: Any) -> str:
        private = jwt.PyJWK(signer.to_jwk(), algorithm="ES256")
        return jwt.encode({**claims, **more}, private)

    for text, error in [
        (statement(stranger), "invalid_software_statement"),
        (statement(PUBLISHER, iss="https://other.example"), "unapproved_software_statement"),
    ]:
        sent = {"token_endpoint_auth_method": "private_key_jwt", "jwks": _jwks(key), "software_statement": text}
        reply = httpx2.post(f"{registrar.issuer}/register", json=sent, headers=_bearer(token))
        assert (reply.status_code, reply.json()["error"]) == (400, error)
    client = Foreign.register(registrar, token, key, client_name="Mine", software_statement=statement(PUBLISHER))
    assert (client.told["client_name"], client.told["software_id"]) == ("By the publisher", "billing")
    client.until(200)


def test_nothing_secret_is_written_anywhere(registrar: Server) -> None:
    """Neither token is in a log, in the audit log, or in the clear in a file of the data folder."""
    token = _invite(registrar)
    client = Foreign.register(registrar, token, keys.generate("ES256"))
    assert client.manage("GET").status_code == 200
    secrets = [token.encode(), client.told["registration_access_token"].encode()]
    child = registrar.child
    assert child is not None
    files = [path for path in registrar.folder.rglob("*") if path.is_file()]
    assert {"server.err", "server.out"} <= {path.name for path in files}
    found = [(path, secret) for path in files for secret in secrets if secret in path.read_bytes()]
    assert found == []


def _crash(server: Server) -> None:
    server.kill()
    server.start()


def test_what_was_answered_survives_sigkill(registrar: Server) -> None:
    """After each answer: registration, replacement and deletion are there, and what was spent is spent."""
    token, key, next_key = _invite(registrar), keys.generate("ES256"), keys.generate("ES256")
    client = Foreign.register(registrar, token, key)
    _crash(registrar)
    access_token = client.until(200).json()["access_token"]
    again = httpx2.post(f"{registrar.issuer}/register", json={"jwks": _jwks(key)}, headers=_bearer(token))
    assert again.status_code == 401, "the one use was spent"

    assert client.manage("PUT", json={**_sent(client), "jwks": _jwks(next_key)}).status_code == 200
    _crash(registrar)
    assert client.until(401).json()["error"] == "invalid_client"
    client.key = next_key
    client.until(200)

    assert client.manage("DELETE").status_code == 204
    _crash(registrar)
    client.until(401)
    assert not _is_active(registrar, access_token)
    registrar.affiant("audit", "verify")
