"""The real server in process, at a fixed time, with a client of each method; and an API behind the real guard."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey, PublicKey, SecretKey
from affiant.jose.signer import Signer
from affiant.resource import Guard
from affiant.resource.asgi import GuardMiddleware
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import signing_key_purpose
from affiant.server.registry import clients, directory
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Api, Client

ISSUER, API, OTHER_API, NOW = "https://as.example", "https://api.example", "https://other.example", 1_800_000_000
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}
KEY = keys.generate("ES256")


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The Authorization header of RFC 6749 section 2.3.1."""
    return basic_of(f"{quote_plus(client_id)}:{quote_plus(secret)}")


def basic_of(pair: str) -> dict[str, str]:
    """The Authorization header with this pair as it stands."""
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def refusal(reply: httpx2.Response) -> tuple[int, str]:
    """Status and error of a refusal, when it has exactly the members and headers that every refusal has."""
    body = reply.json()
    assert set(body) == {"error", "error_description", "error_uri", "trace_id"}
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["pragma"] == "no-cache"
    # RFC 9110 section 15.5.2: with every 401, and only there.
    assert reply.headers.get("www-authenticate") == (f'Basic realm="{ISSUER}"' if reply.status_code == 401 else None)
    return reply.status_code, body["error"]


@dataclass
class Server:
    """An authorization server, and what a test needs to speak to it."""

    app: Starlette
    http: httpx2.AsyncClient
    store: Store
    master_key: MasterKey
    now: list[float]
    secrets: dict[str, str] = field(default_factory=dict)
    serial: int = 0

    async def register(
        self,
        client_id: str,
        auth_method: str = "private_key_jwt",
        *,
        keys: tuple[PublicKey, ...] | None = None,
        **members: Any,
    ) -> None:
        """Register a client, with KEY where the method takes keys; its secret is then in `secrets`."""
        if keys is None:
            keys = (KEY.public(),) if auth_method == "private_key_jwt" else ()
        wanted = Client(client_id, auth_method, **{"scope": ("read", "write"), **members})
        made = clients.build(wanted, keys=keys, master_key=self.master_key, now=NOW)
        await self.store.clients.add(made.client)
        if made.client_secret is not None:
            self.secrets[client_id] = made.client_secret

    def assertion(
        self, key: Signer = KEY, *, header: dict[str, Any] | None = None, without: Sequence[str] = (), **claims: Any
    ) -> str:
        """A client assertion of `c1`, never used before, with these claims changed."""
        self.serial += 1
        now = int(self.now[0])
        members = {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": now + 60, "iat": now, "jti": f"j{self.serial}"}
        members = {name: value for name, value in {**members, **claims}.items() if name not in without}
        return compact.sign(header or {}, members, key)

    def form(self, assertion: str | None = None, **parameters: Any) -> dict[str, Any]:
        """A client_credentials request of `c1`, with these parameters changed."""
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion if assertion is not None else self.assertion(),
            **parameters,
        }

    def mac_assertion(self, client_id: str, *, alg: str = "HS256", **claims: Any) -> str:
        """A client assertion under the client's secret."""
        key = SecretKey(self.secrets[client_id].encode(), alg)
        return self.assertion(key, iss=client_id, sub=client_id, **claims)

    async def post(self, form: dict[str, Any], **options: Any) -> httpx2.Response:
        return await self.http.post("/token", data=form, **options)

    async def post_raw(self, body: str, **options: Any) -> httpx2.Response:
        headers = {**FORM_TYPE, **options.pop("headers", {})}
        return await self.http.post("/token", content=body, headers=headers, **options)

    async def token(self, **parameters: Any) -> dict[str, Any]:
        """The members of a successful answer to `c1`, or to the client whose assertion is given."""
        reply = await self.post(self.form(**parameters))
        assert reply.status_code == 200, reply.text
        members: dict[str, Any] = reply.json()
        return members

    async def signing_key(self) -> PrivateKey:
        """The key that the server signs access tokens with."""
        (record,) = await self.store.signing_keys.list()
        plain = self.master_key.unseal(record.sealed, purpose=signing_key_purpose(record.kid))
        return keys.parse_private_jwk(json.loads(plain))

    async def access_token(
        self, *, header: dict[str, Any] | None = None, without: Sequence[str] = (), **claims: Any
    ) -> str:
        """An access token under the server's own key, with these claims changed."""
        now = int(self.now[0])
        members = {"iss": ISSUER, "sub": "c1", "client_id": "c1", "aud": API, "exp": now + 600, "iat": now, "jti": "t"}
        members = {"scope": "read", **members, **claims}
        kept = {name: value for name, value in members.items() if name not in without}
        return compact.sign({"typ": "at+jwt"} if header is None else header, kept, await self.signing_key())


@pytest.fixture
def store() -> Store:
    """A store that is not open yet."""
    return MemoryStore()


@asynccontextmanager
async def running(store: Store, *, issuer: str = ISSUER, **options: Any) -> AsyncIterator[Server]:
    """The server of this issuer, with two APIs; the options are those of app.Options."""
    now, master_key = [float(NOW)], MasterKey.from_bytes(bytes(32))
    chosen = app.Options(**options)
    built = app.build(issuer=issuer, store=store, master_key=master_key, clock=lambda: now[0], options=chosen)
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=built), base_url=issuer)
    async with built.router.lifespan_context(built), http:
        for name, identifier, scopes in (("api", API, ("read", "write")), ("other", OTHER_API, ("other.read",))):
            api = Api(identifier, name, scopes, is_default=identifier == API, created_at=NOW)
            await store.apis.add(api)
        yield Server(built, http, store, master_key, now)


@pytest.fixture
async def server(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """The server, with `c1` that signs with KEY, and one client for each kind of secret, named after its method."""
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)  # what a test registers is seen at once
    async with running(store) as made:
        await made.register("c1")
        for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
            await made.register(method, method)
        await made.register("refreshing", grant_types=("client_credentials", "refresh_token"))
        yield made


@pytest.fixture
async def api(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    """An API behind the guard, which needs the scope `read`; the guard fetches the keys from the server."""

    async def show(request: Request) -> JSONResponse:
        caller = request.scope["affiant.caller"]
        return JSONResponse({"client_id": caller.client_id, "scopes": sorted(caller.scopes)})

    routes = [Route("/", show, methods=["GET", "POST"])]
    guard = Guard(ISSUER, audience=API, http=server.http, clock=lambda: server.now[0])
    transport = httpx2.ASGITransport(app=GuardMiddleware(Starlette(routes=routes), guard, need=["read"]))
    async with httpx2.AsyncClient(transport=transport, base_url=API) as http:
        yield http
