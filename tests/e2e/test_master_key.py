"""The master key is rotated under load, with a reload of the server: no request is refused, no refresh token lost."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx2
import pytest
from tests.process import Server, children

from affiant import testing
from affiant.jose.keys import SecretKey
from affiant.oauth import assertion

GRANTS = ("--grant", "client_credentials", "--grant", "refresh_token")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, workers=2) as server:
        server.add_api()
        server.affiant("client", "new", "billing", "--scope", "orders.read", *GRANTS)
        server.affiant("client", "new", "mac", "--scope", "orders.read", "--auth", "client_secret_jwt", *GRANTS)
        yield server


class Load:
    """A client with a shared secret, which the server must open, and two families of refresh tokens."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.refused: list[str] = []
        self.answers = 0
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(name,)) for name in ("billing", "mac")]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(30)

    def _assertion(self, name: str) -> str:
        if name == "billing":
            return self.server.assertion(name)
        secret = SecretKey(self.server.credentials(name)["client_secret"].encode(), "HS256")
        return assertion.build(name, issuer=self.server.issuer, signer=secret, now=time.time(), lifetime=60)

    def _run(self, name: str) -> None:
        refresh: str | None = None
        with httpx2.Client(timeout=20, trust_env=False) as http:
            while not self.ending.is_set():
                more = {"grant_type": "refresh_token", "refresh_token": refresh} if refresh else {}
                answer = http.post(f"{self.server.issuer}/token", data={**testing.form(self._assertion(name)), **more})
                self.answers += 1
                if answer.status_code != 200:
                    self.refused.append(f"{name} {answer.status_code} {answer.text}")
                    return
                refresh = answer.json()["refresh_token"]
                time.sleep(0.05)  # the other work needs the processors too


@pytest.mark.soak  # two starts of two processes
def test_rotation_under_load(server: Server) -> None:
    assert server.child is not None
    pid = server.child.process.pid
    with Load(server) as load:
        server.child.until(lambda: load.answers > 10)
        made = server.affiant("master-key", "rotate")
        before = set(children(pid))
        server.child.process.send_signal(signal.SIGHUP)
        server.child.until(lambda: len(now := set(children(pid))) >= 2 and not now & before)
        assert server.affiant("master-key", "finish", "--at-once")["resealed"] >= 2
        seen = load.answers
        server.child.until(lambda: load.answers > seen + 20 or bool(load.refused))
    assert load.refused == []
    assert server.affiant("audit", "verify")["number"] > 10
    # The former key is of no use any more: neither for a command nor for a server.
    former = {"AFFIANT_MASTER_KEY_FILE": str(server.folder / made["kept"])}
    done = server.run("serve", "--port", "0", **former)
    assert done.returncode == 8
    assert f"needs another master key: that with the fingerprint {made['fingerprint']}" in done.stderr
