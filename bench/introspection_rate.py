"""Introspections per second of one token by one API, on one core, beside what this core can verify in the same run.

As in token_rate: the server has a core of its own; each assertion of the API was signed beforehand and is used once;
SQLite with synchronous=FULL, and each answer is after its commit. An introspection verifies two signatures: of the
API's assertion, and of the token.

Usage: python -m bench.introspection_rate [REQUESTS] [CONNECTIONS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time

import httpx2
from bench.token_rate import ISSUER, affiant, authenticated, cpu_seconds, key_of, load, post, serving

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import names

API, CLIENT, ASKER = "https://api.example", "bench", "bench-api"


def limit(seconds: float = 1.0) -> float:
    """Verifications per second, ES256, on this core."""
    key = keys.generate("ES256")
    read = compact.parse(compact.sign({}, {"sub": "x" * 200}, key))
    public, verified, end = key.public(), 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        public.verify("ES256", read.signing_input, read.signature)
        verified += 1
    return verified / seconds


def _token(key: PrivateKey) -> str:
    form = authenticated(CLIENT, key, grant_type=names.CLIENT_CREDENTIALS)
    return str(httpx2.post(f"{ISSUER}/token", data=form).raise_for_status().json()["access_token"])


def _questions(key: PrivateKey, token: str, count: int) -> list[bytes]:
    return [post("/introspect", authenticated(ASKER, key, token=token)) for _ in range(count)]


def _check(key: PrivateKey, token: str) -> None:
    """What is measured is the answer that it stands, and no other."""
    reply = httpx2.post(f"{ISSUER}/introspect", data=authenticated(ASKER, key, token=token))
    if reply.json().get("active") is not True:
        raise SystemExit(f"not active: {reply.text}")


def main() -> None:
    """Measure and print."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    with tempfile.TemporaryDirectory() as folder:
        affiant(folder, "api", "new", "a", "--identifier", API, "--scope", "r")
        affiant(folder, "client", "new", CLIENT, "--scope", "r")
        affiant(folder, "client", "new", ASKER, "--introspect", API)
        with serving(folder) as server:
            token, key = _token(key_of(folder, CLIENT)), key_of(folder, ASKER)
            asyncio.run(load(_questions(key, token, 500), connections))
            questions = _questions(key, token, requests)
            before, used = limit(), cpu_seconds(server.pid)
            seconds, times = asyncio.run(load(questions, connections))
            used, after = cpu_seconds(server.pid) - used, limit()
            _check(key, token)
    rate, verifications = requests / seconds, (before + after) / 2
    centiles = statistics.quantiles(times, n=100)
    print(f"{requests} introspections of one token by one API, {connections} connections, SQLite FULL, one core")
    print(f"rate   {rate:8.0f} /s")
    print(f"p50    {centiles[49] * 1000:8.2f} ms")
    print(f"p99    {centiles[98] * 1000:8.2f} ms")
    print(f"limit  {verifications:8.0f} /s   verifications alone, before and after, same run")
    print(f"ratio  {rate / verifications:8.2f}      two of them in each introspection")
    print(f"cpu    {used / requests * 1e6:8.0f} us for an introspection")


if __name__ == "__main__":
    main()
