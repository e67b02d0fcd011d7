"""The load generator load.c, on its core: it sends prepared requests and checks every answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

HERE = Path(__file__).parent
SERVER_CORE, GENERATOR_CORE = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
TOKEN = "access_token"


@dataclass(frozen=True)
class Load:
    """What one run of the generator measured; times in milliseconds.

    Attributes:
        requests: how many counted; `warm_up` more came before.
        generator: its share of its core. Near 1 it is the limit, and not the server.
    """

    connections: int
    requests: int
    warm_up: int
    seconds: float
    rate: float
    p50: float
    p90: float
    p99: float
    max: float
    generator: float


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="affiant-bench-")


@cache
def program() -> Path:
    """Compile load.c, once in each run."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("The load generator is written in C: install a compiler (Debian, Ubuntu: gcc libc6-dev).")
    made = Path(_folder().name) / "load"
    subprocess.run([compiler, "-O2", "-o", made, HERE / "load.c"], check=True)
    return made


def post(path: str, form: dict[str, str], headers: str = "") -> bytes:
    """Return a whole request; `headers` are lines that end in CRLF."""
    body = urlencode(form)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Accept: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()


def send(
    port: int,
    requests: Iterable[bytes],
    *,
    connections: int,
    warm_up: int = 0,
    rate: float = 0.0,
    expect: str = TOKEN,
    answers: Path | None = None,
) -> Load:
    """Send each request once; see load.c. Whatever is not the expected answer ends the benchmark."""
    whole = b"".join(len(request).to_bytes(4, "little") + request for request in requests)
    prepared = Path(_folder().name) / "requests"  # written last: to prepare may be to send others
    prepared.write_bytes(whole)
    words = [port, prepared, connections, warm_up, rate, expect, *([answers] if answers else [])]
    command = ["taskset", "-c", str(GENERATOR_CORE), str(program()), *map(str, words)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    prepared.unlink()
    if done.returncode:
        raise SystemExit("The load generator gave up; why is above.")
    return Load(**json.loads(done.stdout))
