"""The bench on memory, and the same on a file; neither may open a connection."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.bench import API, FILE, FOREIGN, ISSUER, NOW, OTHER, OTHER_API, PROXY, Bench
from tests.key_server import LOOPBACK, KeyServer, fetcher
from tests.process import Server

from affiant.oauth.binding.forwarded import Proxies
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.published import revocations
from affiant.server.registry import directory
from affiant.server.request.certificate import Certificates
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Api
from affiant.storage.sqlite import SqliteStore

NO_LIMITS = Rates(failures=Rate(0, 1.0), tokens=Rate(0, 1.0))
BOTH_GRANTS = ("client_credentials", "refresh_token")


@asynccontextmanager
async def running(
    store: Store,
    log: pytest.LogCaptureFixture,
    patch: pytest.MonkeyPatch,
    rates: Rates = NO_LIMITS,
    *,
    dpop_nonces: str = "off",
    publisher: KeyServer | None = None,
) -> AsyncIterator[Bench]:
    """The server on this store, with two APIs and a client of each kind; it may connect to the publisher of keys."""
    connect = socket.socket.connect

    def refuse(itself: socket.socket, place: Any) -> None:  # G4
        if publisher is None or place != (LOOPBACK, publisher.port):
            raise AssertionError(f"a connection to {place}")
        connect(itself, place)

    patch.setattr(socket.socket, "connect", refuse)
    patch.setattr(directory, "FRESH_SECONDS", 0.0)  # what a test registers is seen at once
    for name in ("FRESH_SECONDS", "MOST_SECONDS"):  # and what it revokes is in the feed
        patch.setattr(revocations, name, 0.0, raising=False)
    log.set_level(logging.DEBUG)
    now, master_key = [float(NOW)], MasterKey.from_bytes(bytes(range(32)))
    limits = Limits(rates, key=bytes(32))
    options: dict[str, Any] = {
        "limits": limits,
        "clock": lambda: now[0],
        "options": app.Options(dpop_nonces=dpop_nonces, certificates=Certificates(Proxies.parse(PROXY))),
        "fetch": fetcher(names=publisher.names if publisher else None),
    }
    built = app.build(issuer=ISSUER, store=store, master_key=master_key, **options)
    async with built.router.lifespan_context(built):
        for name, identifier, scopes in (("a", API, ("r", "w")), ("o", OTHER_API, ("r",))):
            api = Api(identifier, name, scopes, is_default=identifier == API, created_at=NOW)
            await store.apis.add(api)
        bench = Bench(built, store, master_key, now, log)
        await _register(bench)
        yield bench


async def _register(bench: Bench) -> None:
    await bench.register("c1")
    await bench.register("c2", keys=(OTHER.public(),))
    await bench.register("off")
    await bench.store.clients.update("off", lambda client: replace(client, enabled=False))
    await bench.register("ed", keys=(FOREIGN.public(),))
    await bench.register("both", resources=(API, OTHER_API))
    await bench.register("refreshing", grant_types=BOTH_GRANTS)
    for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
        await bench.register(method, method)
    await bench.register("bound", dpop_bound_access_tokens=True)
    await bench.register("certified", tls_client_certificate_bound_access_tokens=True)
    await bench.register("named", "tls_client_auth", tls_subject=("tls_client_auth_san_dns", "named.example"))
    await bench.register("guide", "client_secret_jwt", profile="guide")


@pytest.fixture
async def bench(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """On memory; nothing limits how often one may fail."""
    async with running(MemoryStore(), caplog, monkeypatch) as made:
        yield made


@pytest.fixture
async def durable(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Bench]:
    """On the file affiant.db in tmp_path."""
    async with running(SqliteStore(tmp_path / FILE), caplog, monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a process of its own, for what only a real socket can send."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        server.add_api()
        yield server
