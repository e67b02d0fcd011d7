"""The real server in process, at a fixed time, with a client of each method; and an API behind the real guard."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from affiant.resource import Guard, GuardMiddleware
from affiant.server.request.limits import Rates
from affiant.server.settings.options import Options
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.testing import ISSUER, Server

API, OTHER_API = "https://api.example", "https://other.example"
USUAL_RATES = Rates()
BOTH_GRANTS = ("client_credentials", "refresh_token")


def basic_of(pair: str) -> dict[str, str]:
    """Return the Authorization header with this pair as it is."""
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def refusal(reply: httpx2.Response) -> tuple[int, str]:
    """Return status and error of a refusal that has exactly the members and headers that every refusal has."""
    body = reply.json()
    assert set(body) == {"error", "error_description", "error_uri", "trace_id"}
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["pragma"] == "no-cache"
    # RFC 9110 section 15.5.2: with every 401, and only there.
    assert reply.headers.get("www-authenticate") == (f'Basic realm="{ISSUER}"' if reply.status_code == 401 else None)
    return reply.status_code, body["error"]


async def access_token(server: Server, **claims: Any) -> str:
    """Return an access token of c1 for API under the server's own key, with these claims changed."""
    return await server.access_token(**{"sub": "c1", "client_id": "c1", "aud": API, "scope": "read", **claims})


@asynccontextmanager
async def running(
    store: Store, *, issuer: str = ISSUER, rates: Rates = USUAL_RATES, **options: Any
) -> AsyncIterator[Server]:
    """Run the server of this issuer with two APIs; the options are those of app.Options."""
    chosen = Options(**options)
    async with Server.in_process(store=store, issuer=issuer, rates=rates, options=chosen) as server:
        await server.add_api(API, scope=("read", "write"), is_default=True)
        await server.add_api(OTHER_API, name="other", scope=("other.read",))
        yield server


@pytest.fixture
def store() -> Store:
    """A store that is not open yet."""
    return MemoryStore()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """With `c1`, which signs with KEY, and one client for each kind of secret, named after its method."""
    async with running(MemoryStore()) as made:
        await made.add_client("c1")
        for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
            await made.add_client(method, method)
        await made.add_client("refreshing", grant_types=BOTH_GRANTS)
        yield made


@asynccontextmanager
async def guarded(
    server: Server, *paths: str, need: tuple[str, ...] = (), peer: str = "127.0.0.1", **options: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """Run an API behind the guard, which fetches the keys from the server; requests come from this peer."""

    async def show(request: Request) -> JSONResponse:
        caller = request.scope["affiant.caller"]
        return JSONResponse({"client_id": caller.client_id, "scopes": sorted(caller.scopes)})

    routes = [Route(path, show, methods=["GET", "POST"]) for path in paths or ("/{rest:path}",)]
    guard = Guard(server.issuer, audience=API, http=server.http, clock=server.clock, **options)
    transport = httpx2.ASGITransport(app=GuardMiddleware(Starlette(routes=routes), guard, need=need), client=(peer, 1))
    async with httpx2.AsyncClient(transport=transport, base_url=API) as http:
        yield http


@pytest.fixture
async def api(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    """An API that needs the scope `read`."""
    async with guarded(server, "/", need=("read",)) as http:
        yield http
