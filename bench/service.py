"""The client: a token from its cache and a new one, next to google-auth; and the CPU of a process, next to Python's.

A new token is requested over a transport that answers at once, so the client's work is measured: httpx2 for ours,
requests for google-auth. Everything runs in turn on one core; a ratio is the median of the ratios within a round.
"""

from __future__ import annotations

import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import google.auth.crypt
import google.auth.transport.requests
import google.oauth2.service_account
import httpx2
import requests
from bench import rates
from bench.rates import Effort, Row
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from affiant import Service
from affiant.client import FileTokenStore
from affiant.client.cache.stores import kept
from affiant.client.credentials.file import Credentials
from affiant.client.token import Token
from affiant.jose import keys

ISSUER, API = "https://as.example", "https://orders.example"
PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
KEY = keys.parse_private_pem(PEM, alg="ES256")
CACHED, NEW = 50_000, 100  # calls a round
VALUE = "eyJhbGciOiJFUzI1NiJ9." + "x" * 400 + "." + "x" * 86
ANSWER = {"access_token": VALUE, "token_type": "Bearer", "expires_in": 3600}
METADATA = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token"}
IMPORT = "import affiant; affiant.Service"


def _ours() -> Service:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=ANSWER if request.url.path == "/token" else METADATA)

    service = Service(ISSUER, "billing", key=KEY, http=httpx2.Client(transport=httpx2.MockTransport(answer)))
    service.token()
    return service


def _google() -> tuple[google.oauth2.service_account.Credentials, google.auth.transport.requests.Request]:
    session = requests.Session()
    session.mount("https://", _AtOnce())
    request = google.auth.transport.requests.Request(session)
    signer = google.auth.crypt.ES256Signer.from_string(PEM.decode())
    made = google.oauth2.service_account.Credentials(signer, "billing@example", f"{ISSUER}/token", scopes=["a"])
    made.refresh(request)
    return made, request


class _AtOnce(requests.adapters.BaseAdapter):
    """Answers without a network: the token endpoint, and 404 elsewhere."""

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:  # type: ignore[override]
        found = requests.Response()
        is_token = request.method == "POST"
        found.status_code = 200 if is_token else 404
        found.raw = io.BytesIO(json.dumps(ANSWER).encode() if is_token else b"{}")
        found.headers["content-type"] = "application/json"
        return found

    def close(self) -> None: ...


def _again(times: int, once: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(times):
        once()
    return (time.process_time() - begun) / times * 1e6


def _calls(rounds: int) -> dict[str, list[float]]:
    """CPU microseconds of one call, by subject."""
    service, (peer, request) = _ours(), _google()
    numbers = iter(range(10**9))
    headers: dict[str, str] = {}
    subjects: dict[str, tuple[int, Callable[[], object]]] = {
        "Service.token(), cached": (CACHED, service.token),
        "google-auth, cached": (CACHED // 10, lambda: peer.before_request(request, "GET", API, headers)),
        "Service.token(), new": (NEW, lambda: service.token(f"{API}/{next(numbers)}")),
        "google-auth, new": (NEW, lambda: peer.refresh(request)),
    }
    used: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, (times, once) in subjects.items():
            used[name].append(_again(times, once))
    return used


def _processes(folder: Path, rounds: int) -> dict[str, list[float]]:
    """CPU microseconds of one process, by subject."""
    path = folder / "billing.affiant.json"
    mine = Credentials(ISSUER, "billing", "private_key_jwt", kid=KEY.kid, key=KEY.to_jwk())
    mine.write(path)
    names = kept.names_of(json.loads(path.read_text()), mine.key_mark, None, None)
    store = FileTokenStore(folder / "cache" / "affiant" / "tokens")
    token = Token(VALUE, time.time() + 3600, None)
    program = str(Path(sys.executable).with_name("affiant"))
    subjects = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "affiant token, kept": [program, "token", "-c", str(path)],
        IMPORT: [sys.executable, "-c", IMPORT],
        "import google.oauth2...": [sys.executable, "-c", "import google.oauth2.service_account"],
        "affiant --version": [program, "--version"],
    }
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    used: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        store.put(kept.digest(names), kept.build(token, checked_at=time.time()), 3600)
        for name, command in subjects.items():
            used[name].append(_cpu(command, environment))
    return used


def _cpu(command: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e6


def measure(folder: Path, effort: Effort) -> Iterator[Row]:
    """Yield a row for each subject."""
    folder.mkdir(parents=True, exist_ok=True)
    with rates.on(rates.SERVER_CORE):
        calls, processes = _calls(3 * effort.rounds), _processes(folder, 6 * effort.rounds)

    def row(used: dict[str, list[float]], name: str) -> Row:
        return {"what": name, "cpu_us": round(statistics.median(used[name]), 2)}

    def ratios(used: dict[str, list[float]], name: str, other: str, column: str) -> Row:
        found = [a / b for a, b in zip(used[name], used[other], strict=True)]
        return {column: round(statistics.median(found), 2), f"{column}_range": f"{min(found):.2f}-{max(found):.2f}"}

    for what in ("cached", "new"):
        ours, peer = f"Service.token(), {what}", f"google-auth, {what}"
        yield {**row(calls, ours), **ratios(calls, peer, ours, "times_as_fast")}
        yield row(calls, peer)
    for name in processes:
        yield {**row(processes, name), **ratios(processes, name, "python -c pass", "times_bare")}
