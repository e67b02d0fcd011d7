"""A client that registers itself at the real server, for the tests of RFC 7591 and RFC 7592."""

from dataclasses import dataclass
from typing import Any

import httpx2

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.server.registration import initial_tokens
from affiant.testing import Server

MINE, NEXT, PUBLISHER = keys.generate("ES256"), keys.generate("ES256"), keys.generate("ES256")
PUBLISHER_ISSUER = "https://publisher.example"


def jwks(*named: PrivateKey) -> dict[str, Any]:
    return {"keys": [key.public().to_jwk() for key in named or (MINE,)]}


def metadata(**changes: Any) -> dict[str, Any]:
    """What a good client registers; what is changed to None is left out."""
    members = {
        "client_name": "Billing",
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["client_credentials"],
        "scope": "read",
        "jwks": jwks(),
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


def statement(signer: PrivateKey = PUBLISHER, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A software statement of the publisher whom the server trusts."""
    return compact.sign(header or {}, {"iss": PUBLISHER_ISSUER, "software_id": "billing", **claims}, signer)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@dataclass
class Registered:
    """A client that registered itself, as it was told."""

    server: Server
    told: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.told["registration_client_uri"])

    @property
    def client_id(self) -> str:
        return str(self.told["client_id"])

    @property
    def token(self) -> str:
        return str(self.told["registration_access_token"])

    async def read(self, **options: Any) -> httpx2.Response:
        return await self.server.http.get(self.url, headers=bearer(self.token), **options)

    async def put(self, members: dict[str, Any]) -> httpx2.Response:
        return await self.server.http.put(self.url, json=members, headers=bearer(self.token))

    async def replace(self, **changes: Any) -> httpx2.Response:
        return await self.put(metadata(client_id=self.client_id, **changes))

    async def delete(self) -> httpx2.Response:
        return await self.server.http.delete(self.url, headers=bearer(self.token))

    async def ask(self, key: PrivateKey = MINE) -> httpx2.Response:
        """Ask for an access token."""
        signed = self.server.assertion(self.client_id, key=key)
        return await self.server.post(self.server.form(signed))


async def invite(server: Server, **options: Any) -> str:
    """An initial access token."""
    options = {"scope": ("read", "write"), "resources": (), "lifetime_seconds": 3600, "uses": 5, **options}
    _, text = await initial_tokens.issue(server.store, server.master_key, now=int(server.clock.now), **options)
    return text


async def register(
    server: Server, members: dict[str, Any] | None = None, *, token: str | None = None
) -> httpx2.Response:
    body = metadata() if members is None else members
    return await server.http.post("/register", json=body, headers=bearer(token or await invite(server)))


async def registered(server: Server, **changes: Any) -> Registered:
    reply = await register(server, metadata(**changes))
    assert reply.status_code == 201, reply.text
    return Registered(server, reply.json())


async def refused(server: Server, members: dict[str, Any]) -> str:
    """The error, when registering is refused with 400 and stores nothing."""
    before = await server.store.clients.list()
    reply = await register(server, members)
    assert reply.status_code == 400, reply.text
    assert reply.headers["cache-control"] == "no-store"
    assert await server.store.clients.list() == before
    return str(reply.json()["error"])
