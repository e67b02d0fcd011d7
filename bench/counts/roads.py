"""The roads whose work `python -m bench.counts` counts, each in this process, on prepared input, without time.

A road is a function that does its work once: a token request through the ASGI application, a check of the guard, a
cached token of the client. What it needs is made before: no assertion is signed while it is counted.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
from starlette.types import ASGIApp

from affiant import testing
from affiant.client import Service
from affiant.jose import compact
from affiant.resource import Caller, Guard
from affiant.server import app
from affiant.server.request.limits import Limits
from affiant.server.settings.options import Options
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.sqlite import SqliteStore

API, CLIENT, SCOPE = "https://orders.example", "billing", "orders.read"
Once = Callable[[], Awaitable[None]]
Road = Callable[[int], AbstractAsyncContextManager[Once]]  # for so many times


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose time does not pass: no timer fires while a road is counted, however slow counting is."""

    def time(self) -> float:
        return 0.0


@asynccontextmanager
async def _server(store: Store) -> AsyncIterator[testing.Server]:
    """A server that does not look again at what is registered: production does so every 100 ms, by the real clock."""
    async with testing.Server.in_process(store=store) as first:
        await first.add_api(API, scope=(SCOPE,), is_default=True)
        await first.add_client(CLIENT)
    built = app.build(
        issuer=first.issuer,
        store=store,
        master_key=first.master_key,
        options=Options(fresh_seconds=math.inf),
        limits=Limits(testing.UNLIMITED, key=bytes(32)),
        clock=first.clock,
    )
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=built), base_url=first.issuer)
    async with built.router.lifespan_context(built), http:
        made = testing.Server(
            built, http, issuer=first.issuer, store=store, master_key=first.master_key, clock=first.clock
        )
        made.signers.update(first.signers)
        yield made


def _scope(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """An ASGI scope as uvicorn makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8400),
        "client": ("127.0.0.1", 54321),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "state": {},
    }


async def _post(application: ASGIApp, path: str, body: bytes) -> None:
    """Send a form; anything but 200 ends the run."""
    headers = [
        (b"host", b"as.example"),
        (b"accept", b"application/json"),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(len(body)).encode()),
    ]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise SystemExit(f"{path} answered {message['status']}")

    await application(_scope("POST", path, headers), receive, send)


@asynccontextmanager
async def _tokens(store: Store, times: int) -> AsyncIterator[Once]:
    async with _server(store) as server:
        bodies = iter([urlencode(server.form()).encode() for _ in range(times)])

        async def once() -> None:
            await _post(server.app, "/token", next(bodies))

        yield once


@asynccontextmanager
async def token_in_memory(times: int) -> AsyncIterator[Once]:
    """POST /token by private_key_jwt: ES256 in and out, without a database."""
    async with _tokens(MemoryStore(), times) as once:
        yield once


@asynccontextmanager
async def token_on_sqlite(times: int) -> AsyncIterator[Once]:
    """The same, committed to SQLite before the answer, one request at a time."""
    with tempfile.TemporaryDirectory() as folder:
        async with _tokens(SqliteStore(Path(folder) / "affiant.db", audit_key=bytes(32)), times) as once:
            yield once


async def _check(guard: Guard, token: str) -> None:
    scope = _scope("GET", "/orders", [(b"host", b"orders.example"), (b"authorization", b"Bearer " + token.encode())])
    found = await guard.check_scope(scope, (SCOPE,))
    if not isinstance(found, Caller):
        raise SystemExit(f"the guard answered {found}")


@asynccontextmanager
async def sign(times: int) -> AsyncIterator[Once]:
    """One ES256 signature made."""
    del times
    text = compact.parse(testing.assertion(CLIENT)).signing_input

    async def once() -> None:
        testing.KEY.sign(text)

    yield once


@asynccontextmanager
async def verify(times: int) -> AsyncIterator[Once]:
    """One ES256 signature verified."""
    del times
    signed, public = compact.parse(testing.assertion(CLIENT)), testing.KEY.public()

    async def once() -> None:
        public.verify("ES256", signed.signing_input, signed.signature)

    yield once


@asynccontextmanager
async def _guard(times: int) -> AsyncIterator[tuple[Guard, list[str]]]:
    async with _server(MemoryStore()) as server:
        guard = Guard(server.issuer, audience=API, http=server.http, clock=server.clock)
        tokens = [(await server.token())["access_token"] for _ in range(times)]
        yield guard, tokens


@asynccontextmanager
async def guard_first(times: int) -> AsyncIterator[Once]:
    """A check of a token that the guard has not seen: its signature is verified."""
    async with _guard(times) as (guard, tokens):
        left = iter(tokens)

        async def once() -> None:
            await _check(guard, next(left))

        yield once


@asynccontextmanager
async def guard_again(times: int) -> AsyncIterator[Once]:
    """A check of a token whose signature the guard remembers."""
    del times
    async with _guard(1) as (guard, (token,)):
        yield partial(_check, guard, token)


@asynccontextmanager
async def client_cached(times: int) -> AsyncIterator[Once]:
    """`Service.token()`, from its cache."""
    del times
    async with _server(MemoryStore()) as server:
        service = Service(server.issuer, CLIENT, key=testing.KEY, http=server.blocking_http(), clock=server.clock)
        await service.atoken()

        async def once() -> None:
            service.token()

        yield once


SIGN, VERIFY = "signature made", "signature verified"
ROADS: dict[str, Road] = {
    SIGN: sign,
    VERIFY: verify,
    "token, memory": token_in_memory,
    "token, SQLite": token_on_sqlite,
    "guard, first check": guard_first,
    "guard, repeated check": guard_again,
    "client, cached token": client_cached,
}
# Taken off, or they would hide what changes: two thirds of the instructions of a token are in OpenSSL.
SIGNATURES = {
    "token, memory": (SIGN, VERIFY),
    "token, SQLite": (SIGN, VERIFY),
    "guard, first check": (VERIFY,),
}
