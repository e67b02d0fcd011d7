"""A client's keys while tokens flow, on two nodes with one PostgreSQL: experiment D18 of the catalogue."""

import json
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Self

import httpx2
import pytest
from tests.e2e.test_postgres import Nodes, _started
from tests.postgres import Postgres

from affiant import testing
from affiant.client.credentials import file as credentials
from affiant.client.credentials import rotation
from affiant.jose.keys import PrivateKey
from affiant.oauth import assertion

END_SECONDS = 1.0


class Balancer(httpx2.BaseTransport):
    """Sends each request for the issuer to the next node."""

    def __init__(self, nodes: Nodes) -> None:
        self._ports = cycle(nodes.ports)
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=next(self._ports))
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def nodes(postgres: Postgres, tmp_path: Path) -> Iterator[Nodes]:
    yield from _started(Nodes(tmp_path, postgres.create()))


def _key(path: Path) -> PrivateKey:
    return rotation.signer(credentials.read(path))


def _ask(http: httpx2.Client, url: str, key: PrivateKey) -> int:
    text = assertion.build("billing", issuer="https://as.example", signer=key, now=time.time())
    return http.post(url, data=testing.form(text)).status_code


class Load:
    """Asks each node for tokens all the time, and reads the credentials file for each, as `affiant token` does."""

    def __init__(self, nodes: Nodes, path: Path) -> None:
        self.statuses: list[int] = []
        self.kids = set[str]()
        self._path = path
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(url,)) for url in nodes.urls]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, url: str) -> None:
        with httpx2.Client(timeout=20) as http:
            while not self._ended.wait(0.02):
                key = _key(self._path)
                self.statuses.append(_ask(http, url, key))
                self.kids.add(key.kid)


@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_rotations_on_two_nodes_refuse_no_good_request(nodes: Nodes, times: int) -> None:
    """No token is refused to who reads the file; an old key is refused by both nodes within a second of its end."""
    path, late = nodes.folder / "billing.affiant.json", 0
    assert json.loads(path.read_text())["client_id"] == "billing"
    with httpx2.Client(transport=Balancer(nodes), timeout=20) as balanced, httpx2.Client(timeout=20) as http:
        with Load(nodes, path) as load:
            for _ in range(times):
                old = _key(path)
                # One second: a request that was signed when the file was read may still be on its way.
                rotation.rotate(path, balanced, overlap=1)
                time.sleep(1 + END_SECONDS)
                late += sum(_ask(http, url, old) == 200 for url in nodes.urls * 4)
        print(f"{times} rotations, {len(load.statuses)} tokens, {late} old keys too late")
    assert set(load.statuses) == {200}
    assert len(load.kids) >= times
    assert late == 0
    nodes.affiant("audit", "verify")
