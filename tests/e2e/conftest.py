"""A real server in its own processes, driven by the real command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loopback import free_port
from tests.process import Child, Launch, Server, guarded_api


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers and one API; every test registers clients of its own."""
    with Server(tmp_path_factory.mktemp("server"), workers=2) as server:
        server.add_api()
        yield server


@pytest.fixture
def lone_server(tmp_path: Path) -> Iterator[Server]:
    """A server with one worker, to be killed."""
    with Server(tmp_path) as server:
        server.add_api()
        yield server


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a process in tmp_path; it ends with the test, and so does whatever it started."""
    children: list[Child] = []

    def start(*command: str, **environment: str) -> Child:
        children.append(Child.start(tmp_path, *command, name=f"child{len(children)}", **environment))
        return children[-1]

    try:
        yield start
    finally:
        for child in children:
            child.stop()


@pytest.fixture(scope="session")
def api(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A guarded API in its own process (guarded_api.py), registered under the address that it listens on."""
    identifier = f"http://127.0.0.1:{free_port()}"
    server.add_api(identifier, "--scope", "orders.write", name="live")
    with guarded_api(tmp_path_factory.mktemp("api"), server.issuer, identifier):
        yield identifier
