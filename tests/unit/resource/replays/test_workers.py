"""Two workers of an API accept a proof once; without a store, once each."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import Child
from tests.unit.resource.listening import API, ListeningIssuer, listening

from affiant.jose import keys
from affiant.oauth.binding import dpop

APPS = Path(__file__).parent
SERVERS = {
    "gunicorn": ("gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:{port}", "workers:wsgi"),
    "uvicorn": ("uvicorn", "--workers", "2", "--port", "{port}", "--log-level", "warning", "workers:asgi"),
}


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        found.now = time.time()
        yield found


def _place(store: str, folder: Path, request: Any) -> str:
    return str(request.getfixturevalue("redis_url")) if store == "redis" else str(folder / "replays.db")


@pytest.mark.attack(181)
@pytest.mark.parametrize(
    ("server", "store", "times"), [("gunicorn", "redis", 1), ("uvicorn", "sqlite", 1), ("gunicorn", "memory", 2)]
)
def test_proof_is_good_for_one_request_to_either_worker(
    issuer: ListeningIssuer, tmp_path: Path, request: Any, server: str, store: str, times: int
) -> None:
    port = free_port()
    command = [sys.executable, "-m", *(word.format(port=port) for word in SERVERS[server])]
    environment = {
        "GUARD_ISSUER": issuer.url,
        "GUARD_AUDIENCE": API,
        "GUARD_STORE": store,
        "GUARD_PLACE": _place(store, tmp_path, request),
        "PYTHONPATH": str(APPS),
    }
    key = dpop.ProofKey.of(keys.generate("ES256"))
    token = issuer.token(cnf={"jkt": key.thumbprint}).removeprefix(b"Bearer ").decode()
    with Child.start(tmp_path, *command, **environment).until_listening(port):
        proof = dpop.build(key, method="GET", url=f"{API}/orders", now=time.time(), access_token=token)
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof, "Connection": "close"}
        found = list[tuple[int, str]]()

        def send(_: int) -> tuple[int, str]:
            answer = httpx2.get(f"http://127.0.0.1:{port}/orders", headers=headers, timeout=20)
            return answer.status_code, answer.headers["X-Worker"]

        with ThreadPoolExecutor(4) as threads:
            while len({worker for _, worker in found}) < 2:
                assert len(found) < 400, "one worker gets nothing"
                found += threads.map(send, range(20))
    assert sorted(status for status, _ in found) == [*[200] * times, *[401] * (len(found) - times)]
