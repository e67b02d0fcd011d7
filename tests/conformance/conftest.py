"""A real server that holds every client to FAPI 2.0, an API behind the guard, and the suite's two clients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.suite import Client, Prover
from tests.e2e.conftest import Child, Server, _free_port

E2E = Path(__file__).parents[1] / "e2e"


@pytest.fixture(scope="session")
def fapi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server."""
    server = Server(tmp_path_factory.mktemp("fapi"), _free_port(), environment={"AFFIANT_FAPI": "on"})
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def fapi_api(fapi_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API (tests/e2e/guarded_api.py)."""
    port = _free_port()
    identifier = f"http://127.0.0.1:{port}"
    fapi_server.affiant("api", "new", "orders", "--identifier", identifier, "--scope", "orders.read")
    child = Child.start(
        tmp_path_factory.mktemp("api"),
        *(sys.executable, "-m", "uvicorn", "--factory", "guarded_api:build", "--app-dir", str(E2E)),
        *("--port", str(port), "--log-level", "warning"),
        GUARD_ISSUER=fapi_server.issuer,
        GUARD_AUDIENCE=identifier,
    )
    try:
        child.until_healthy(identifier)
        yield identifier
    finally:
        child.stop()


@pytest.fixture(scope="session")
def client(fapi_server: Server, fapi_api: str) -> Client:
    """The first client."""
    return Client.register(fapi_server, "first", fapi_api, AFFIANT_FAPI="on")


@pytest.fixture(scope="session")
def client2(fapi_server: Server, fapi_api: str) -> Client:
    """The second client, which may refresh as well."""
    grants = ("--grant", "client_credentials", "--grant", "refresh_token")
    return Client.register(fapi_server, "second", fapi_api, *grants, AFFIANT_FAPI="on")


@pytest.fixture
def prover() -> Prover:
    """A key for tokens."""
    return Prover.new()
