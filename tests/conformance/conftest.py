"""A real server that holds every client to FAPI 2.0, an API behind the guard, and the suite's two clients."""

from collections.abc import Iterator

import pytest
from tests.conformance.suite import Client, Prover
from tests.loopback import free_port
from tests.process import Server, guarded_api


@pytest.fixture(scope="session")
def fapi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server."""
    with Server(tmp_path_factory.mktemp("fapi"), environment={"AFFIANT_FAPI": "on"}) as server:
        yield server


@pytest.fixture(scope="session")
def fapi_api(fapi_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API (tests/e2e/guarded_api.py)."""
    identifier = f"http://127.0.0.1:{free_port()}"
    fapi_server.add_api(identifier)
    with guarded_api(tmp_path_factory.mktemp("api"), fapi_server.issuer, identifier):
        yield identifier


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
