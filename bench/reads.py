"""What a long read of the admin API costs others: health checks and tokens, while each route is read to its end.

A real server with 141,000 audit records and 10,000 clients, asked from another process. Beside the figures of each
route, the same two with nothing else going on.

Usage: python -m bench.reads [postgresql://USER@HOST/NAME] [--records N] [--clients N]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2

from affiant.cli.connection.data import open_store
from affiant.jose import keys
from affiant.server import settings
from affiant.server.admin import roles
from affiant.server.keys import key_source
from affiant.server.registry.clients import build as build_client
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.records import Api, Client

PORT = 8398
ISSUER = f"http://127.0.0.1:{PORT}"
ADMIN = roles.identifier(ISSUER)
READER, CLIENT = "bench-reader", "bench-client"
LINES = {"accept": "application/jsonl"}
EXPLAINED = "curl https://as/token -d grant_type=client_credentials -d client_id=nobody-like-this -d client_secret=x"
ROUTES: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "clients, lines": ("GET", "/clients", None, LINES),
    "clients, a page of 1000": ("GET", "/clients?limit=1000", None, {}),
    "grants, lines": ("GET", "/grants", None, LINES),
    "audit, lines": ("GET", "/audit", None, LINES),
    "audit, a rare reason": ("GET", "/audit?reason=assertion.replayed&limit=1000", None, {}),
    "audit, a rare reason, lines": ("GET", "/audit?reason=assertion.replayed", None, LINES),
    "audit/export": ("GET", "/audit/export", None, {}),
    "audit/verification": ("GET", "/audit/verification", None, {}),
    "tokens/{none}": ("GET", "/tokens/none-such", None, {}),
    "explain, unknown client": ("POST", "/explain", {"request": EXPLAINED}, {}),
}


async def fill(folder: Path, database: str | None, records: int, clients: int) -> dict[str, str]:
    """Make the store; the secrets of READER and CLIENT."""
    chosen = settings.load(data=folder, database=database)
    key_source.make(folder)
    key = key_source.load(folder)
    store = open_store(chosen, key)
    await store.open()
    secrets = {}
    try:
        apis = (("orders", "https://orders.example", ("read",)), ("admin", ADMIN, roles.SCOPES))
        for name, identifier, scopes in apis:
            await store.apis.add(Api(identifier, name, scopes, is_default=name == "orders", created_at=0))
        for name, scope, resource in ((READER, "admin.viewer", ADMIN), (CLIENT, "read", "https://orders.example")):
            made = build_client(
                Client(name, "client_secret_basic", scope=(scope,), resources=(resource,)), master_key=key, now=0
            )
            await store.clients.add(made.client)
            secrets[name] = made.client_secret or ""
        public = keys.generate("ES256").public()
        for number in range(clients):
            made = build_client(
                Client(f"client-{number:06}", "private_key_jwt", scope=("read",)), master_key=key, now=0, keys=(public,)
            )
            await store.clients.add(made.client)
        now = time.time()
        for first in range(0, records, 256):
            group = range(first, min(first + 256, records))
            await asyncio.gather(*(store.ledger.claim(_entry(number, now)) for number in group))
    finally:
        await store.close()
    return secrets


def _entry(number: int, now: float) -> Entry:
    record = AuditRecord(
        at=now,
        trace_id=f"{number:012}",
        endpoint="token",
        outcome="issued",
        client_id=f"client-{number % 9973:06}",
        method="private_key_jwt",
        alg="ES256",
        kid="JSWN_ffxhxCSQIONXNV9v8cjxUsNlzmdwIRcpZfBTyU",
        thumbprint="JSWN_ffxhxCSQIONXNV9v8cjxUsNlzmdwIRcpZfBTyU",
        jti_digest=f"{number:064}",
        grant="client_credentials",
        scope="read",
        resource="https://orders.example",
        address="192.0.2.17",
        token=f"token-{number}",
        milliseconds=0.731,
    )
    return Entry(record)


@contextlib.asynccontextmanager
async def serving(folder: Path, database: str | None) -> AsyncIterator[None]:
    """The server, ready."""
    more = {"AFFIANT_DATABASE": database} if database else {}
    words = [sys.executable, "-m", "affiant.cli.main", "serve", "--port", str(PORT), "--data", str(folder)]
    words += ["--issuer", ISSUER]
    environment = {**os.environ, "AFFIANT_TOKEN_BURST": "0", **more}
    quiet = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(*words, env=environment, stdout=quiet, stderr=quiet)
    try:
        async with httpx2.AsyncClient() as http:
            for _ in range(600):
                with contextlib.suppress(httpx2.HTTPError):
                    if (await http.get(f"{ISSUER}/health/ready")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
        yield
    finally:
        server.terminate()
        await server.wait()


async def ask_token(http: httpx2.AsyncClient, name: str, secret: str, resource: str) -> httpx2.Response:
    """The answer to a token request."""
    basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
    form = {"grant_type": "client_credentials", "resource": resource}
    return await http.post(f"{ISSUER}/token", data=form, headers={"authorization": f"Basic {basic}"})


async def read(http: httpx2.AsyncClient, bearer: str, row: tuple[str, str, Any, dict[str, str]]) -> int:
    """Read a route to its end; how many bytes came."""
    method, path, body, headers = row
    headers = {**headers, "authorization": f"Bearer {bearer}"}
    size = 0
    async with http.stream(method, ADMIN + path, json=body, headers=headers) as answer:
        async for piece in answer.aiter_bytes():
            size += len(piece)
        if answer.status_code not in (200, 404):
            raise SystemExit(f"{path}: {answer.status_code}")
    return size


async def beside(work: Awaitable[int], *asked: Callable[[], Awaitable[object]]) -> tuple[int, float, list[list[float]]]:
    """The result of this work, its seconds, and the times of each of these, asked again and again until it is done."""
    times: list[list[float]] = [[] for _ in asked]
    done = asyncio.Event()

    async def ask(one: Callable[[], Awaitable[object]], mine: list[float]) -> None:
        while not done.is_set():
            begun = time.perf_counter()
            await one()
            mine.append(time.perf_counter() - begun)
            await asyncio.sleep(0.005)

    asking = [asyncio.create_task(ask(one, mine)) for one, mine in zip(asked, times, strict=True)]
    await asyncio.sleep(0.1)
    begun = time.perf_counter()
    result = await work
    seconds = time.perf_counter() - begun
    done.set()
    await asyncio.gather(*asking)
    return result, seconds, times


async def measure(secrets: dict[str, str]) -> dict[str, tuple[float, int]]:
    """Print a line for each route; the longest that a health check took in ms, and how many tokens were refused."""
    longest: dict[str, tuple[float, int]] = {}
    async with (
        httpx2.AsyncClient(timeout=120) as http,
        httpx2.AsyncClient(timeout=120) as healthy,
        httpx2.AsyncClient(timeout=120) as client,
    ):
        bearer = (await ask_token(http, READER, secrets[READER], ADMIN)).json()["access_token"]
        await read(http, bearer, ("GET", "/apis", None, {}))  # the admin API is loaded when it is first asked

        refused: list[str] = []

        async def live() -> object:
            return await healthy.get(f"{ISSUER}/health/live")

        async def issue() -> object:
            answer = await ask_token(client, CLIENT, secrets[CLIENT], "https://orders.example")
            refused.extend([answer.text] if answer.status_code != 200 else [])
            return answer

        async def nothing() -> int:
            await asyncio.sleep(2)
            return 0

        print(f"{'':29}{'seconds':>8} {'bytes':>12}   {'health p50, max':>18}   {'token p50, max':>18} ms   refused")
        rows: dict[str, Callable[[], Awaitable[int]]] = {"nothing": nothing}
        rows |= {name: (lambda row=row: read(http, bearer, row)) for name, row in ROUTES.items()}  # type: ignore[misc]
        for name, work in rows.items():
            size, seconds, times = await beside(work(), live, issue)
            told = [f"{statistics.median(one) * 1e3:8.1f} {max(one) * 1e3:9.1f}" for one in times]
            print(f"{name:29}{seconds:8.2f} {size:12,}   {told[0]}   {told[1]}   {len(refused) or ''}", flush=True)
            longest[name] = max(times[0]) * 1e3, len(refused)
            refused.clear()
    return longest


async def run(arguments: argparse.Namespace) -> dict[str, tuple[float, int]]:
    """Fill, serve and measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(arguments.folder or name)
        known = folder / "secrets.json"
        if known.exists():
            secrets = json.loads(known.read_text())
        else:
            secrets = await fill(folder, arguments.database, arguments.records, arguments.clients)
            known.write_text(json.dumps(secrets))
        async with serving(folder, arguments.database):
            return await measure(secrets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("database", nargs="?")
    parser.add_argument("--records", type=int, default=141_000)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--folder", help="keep what was made here, and use it again")
    asyncio.run(run(parser.parse_args()))
