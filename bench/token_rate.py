"""Tokens per second on one core, beside what this core can sign and verify in the same run.

The server is pinned to one core and the generator to another; assertions are signed beforehand and each is used once.
SQLite with synchronous=FULL: each answer is after its commit.

Usage: python -m bench.token_rate [REQUESTS] [CONNECTIONS]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx2

from affiant.jose import compact, keys
from affiant.oauth import assertion, names

PORT = 8399
ISSUER = f"http://127.0.0.1:{PORT}"


def limit(seconds: float = 1.0) -> tuple[float, float]:
    """Sign-and-verify pairs per second, ES256, on this core; and the CPU seconds of one pair."""
    key = keys.generate("ES256")
    public = key.public()
    text = compact.sign({}, {"sub": "x" * 200}, key)
    read = compact.parse(text)
    pairs, end, cpu = 0, time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        key.sign(read.signing_input)
        public.verify("ES256", read.signing_input, read.signature)
        pairs += 1
    return pairs / seconds, (time.process_time() - cpu) / pairs


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used (proc(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _body(key: keys.PrivateKey) -> bytes:
    return post("/token", authenticated("bench", key, grant_type=names.CLIENT_CREDENTIALS))


def authenticated(client_id: str, key: keys.PrivateKey, **parameters: str) -> dict[str, str]:
    """A form with a new assertion of this client."""
    text = assertion.build(client_id, issuer=ISSUER, signer=key, now=time.time(), lifetime=290)
    return {**parameters, "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE, "client_assertion": text}


def post(path: str, form: dict[str, str]) -> bytes:
    """The whole request, as it goes over the wire."""
    body = urlencode(form).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{PORT}\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _connection(bodies: list[bytes], times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    while bodies:
        request = bodies.pop()
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {head!r}")
        times.append(time.perf_counter() - begun)
    writer.close()
    await writer.wait_closed()


async def load(bodies: list[bytes], connections: int) -> tuple[float, list[float]]:
    """Send them all; how long that took, and each of them, in seconds."""
    times: list[float] = []
    begun = time.perf_counter()
    await asyncio.gather(*(_connection(bodies, times) for _ in range(connections)))
    return time.perf_counter() - begun, times


def affiant(folder: str, *words: str) -> None:
    """The command line."""
    subprocess.run(
        [sys.executable, "-m", "affiant.cli.main", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )


def key_of(folder: str, client_id: str) -> keys.PrivateKey:
    """The key that the command line made for this client."""
    members = json.loads((Path(folder) / f"{client_id}.affiant.json").read_text())
    return keys.parse_private_jwk(members["key"])


@contextlib.contextmanager
def serving(folder: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server on one core; the generator goes to another."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    server = subprocess.Popen(
        [sys.executable, "-m", "affiant.cli.main", "serve", "--port", str(PORT)],
        cwd=folder,
        env={**os.environ, "AFFIANT_TOKEN_BURST": "0"},  # one client asks for them all
    )
    os.sched_setaffinity(0, {cores[-1]})
    try:
        for _ in range(200):
            try:
                httpx2.get(f"{ISSUER}/health")
                break
            except httpx2.TransportError:
                time.sleep(0.05)
        yield server
    finally:
        server.terminate()
        server.wait()
        os.sched_setaffinity(0, set(cores))


def main() -> None:
    """Measure and print."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    with tempfile.TemporaryDirectory() as folder:
        affiant(folder, "api", "new", "a", "--identifier", "https://api.example", "--scope", "r")
        affiant(folder, "client", "new", "bench", "--scope", "r")
        key = key_of(folder, "bench")
        with serving(folder) as server:
            asyncio.run(load([_body(key) for _ in range(500)], connections))
            bodies = [_body(key) for _ in range(requests)]
            before, used = limit(), cpu_seconds(server.pid)
            seconds, times = asyncio.run(load(bodies, connections))
            used, after = cpu_seconds(server.pid) - used, limit()
    rate = requests / seconds
    centiles = statistics.quantiles(times, n=100)
    print(f"{requests} tokens, {connections} connections, ES256 in and out, SQLite FULL, one core for the server")
    print(f"rate   {rate:8.0f} /s")
    print(f"p50    {centiles[49] * 1000:8.2f} ms")
    print(f"p99    {centiles[98] * 1000:8.2f} ms")
    pairs, pair_cpu = ((before[n] + after[n]) / 2 for n in (0, 1))
    print(f"limit  {pairs:8.0f} /s   sign and verify alone, before and after, same run")
    print(f"ratio  {rate / pairs:8.2f}")
    print(f"cpu    {used / requests * 1e6:8.0f} us for a token, {pair_cpu * 1e6:.0f} us for a pair")
    print(f"ratio  {pair_cpu * requests / used:8.2f}      of CPU time: less bent by what else this machine does")


if __name__ == "__main__":
    main()
