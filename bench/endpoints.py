"""Parts `tokens` and `endpoints`: each way to authenticate, each endpoint, at several numbers of connections."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import generator, rates
from bench.generator import TOKEN
from bench.processes import Processes
from bench.rates import Effort, Prepare, Row
from bench.subjects import API, KEY, KEY_CLIENT, SCOPE, Affiant

from affiant.jose import keys
from affiant.jose.algorithms import ALGORITHMS
from affiant.jose.keys import SecretKey
from affiant.oauth import names

ALGS = ("ES256", "RS256", "Ed25519", "ML-DSA-44")
SIGNED = ("sign", "ES256")  # the access token
Ways = dict[str, tuple[Prepare, tuple[tuple[str, str], ...]]]  # requests, and what they cannot do without


def ways(server: Affiant) -> Ways:
    """Register a client for each way to authenticate."""
    found: Ways = {}
    for alg in ALGS:
        if alg not in ALGORITHMS:
            print(f"NOT MEASURED: {alg}, which the OpenSSL of cryptography here does not have")
            continue
        key = KEY if alg == "ES256" else keys.generate(alg)
        client_id = KEY_CLIENT if alg == "ES256" else f"bench-{alg.lower()}"
        if alg != "ES256":
            server.register(client_id, key)
        found[f"private_key_jwt {alg}"] = (_by(server, client_id, key), (SIGNED, ("verify", alg)))
    for alg in ("ES256", "RS256"):  # RS256 is what most platforms sign with
        key = keys.generate(alg)
        issuer = server.trust(f"platform-{alg.lower()}", key)
        found[f"federated_jwt {alg}"] = (_by_platform(server, issuer, key), (SIGNED, ("verify", alg)))
    secret = SecretKey(server.register_secret("bench-hmac", names.CLIENT_SECRET_JWT).encode(), "HS256")
    found["client_secret_jwt HS256"] = (_by(server, "bench-hmac", secret), (SIGNED, ("verify", "HS256")))
    found["client_secret_basic"] = (server.by_secret, (SIGNED,))
    return found


def _by(server: Affiant, client_id: str, signer: keys.PrivateKey | SecretKey) -> Prepare:
    return lambda count: server.by_assertion(count, client_id, signer)


def _by_platform(server: Affiant, issuer: str, key: keys.PrivateKey) -> Prepare:
    return lambda count: server.by_platform(count, issuer, key)


def tokens(server: Affiant, processes: Processes, effort: Effort, found: Ways) -> Iterator[Row]:
    """POST /token, each way to authenticate."""
    for what, (prepare, needs) in found.items():
        for connections in effort.connections:
            with _beside(needs) as alone:
                row = rates.measure(server.port, processes, prepare, connections=connections, seconds=effort.seconds)
            yield {"what": what, **row, **alone(row)}


def endpoints(server: Affiant, processes: Processes, effort: Effort, folder: Path) -> Iterator[Row]:
    """Refresh, introspection, keys and the feed of revocations."""
    (token,) = _answers(server, server.by_assertion(1), folder)
    asks: Callable[[int], Iterator[bytes]] = lambda count: (  # noqa: E731
        generator.post("/introspect", server.proof("bench-asker", KEY, token=token[TOKEN])) for _ in range(count)
    )
    same = {"/jwks": '"keys"', "/revocations": "."}
    rows: list[tuple[str, Prepare, str, tuple[tuple[str, str], ...]]] = [
        ("refresh", _refreshes(server, folder), TOKEN, (SIGNED, ("verify", "ES256"))),
        ("introspection", asks, '"active":true', (("verify", "ES256"), ("verify", "ES256"))),
    ]
    rows += [
        (path, lambda count, path=path: itertools.repeat(generator.get(path), count), expect, ())  # type: ignore[misc]
        for path, expect in same.items()
    ]
    for what, prepare, expect, needs in rows:
        for connections in effort.connections:
            with _beside(needs) as alone:
                row = rates.measure(
                    server.port, processes, prepare, connections=connections, seconds=effort.seconds, expect=expect
                )
            yield {"what": what, **row, **alone(row)}


def register_for_endpoints(server: Affiant) -> None:
    server.register("bench-asker", KEY, "--introspect", API)
    grants = ("--grant", names.CLIENT_CREDENTIALS, "--grant", names.REFRESH_TOKEN)
    server.register("bench-refresher", KEY, "--scope", SCOPE, *grants)


def _refreshes(server: Affiant, folder: Path) -> Prepare:
    """Each refresh token is used once, so that each request gets one of its own before."""

    def prepare(count: int) -> Iterator[bytes]:
        for answer in _answers(server, server.by_assertion(count, "bench-refresher"), folder):
            form = {"grant_type": names.REFRESH_TOKEN, "refresh_token": answer["refresh_token"]}
            yield generator.post("/token", server.proof("bench-refresher", KEY, **form))

    return prepare


def _answers(server: Affiant, requests: Iterator[bytes], folder: Path) -> list[dict[str, str]]:
    path = folder / "answers"
    generator.send(server.port, requests, connections=16, answers=path)
    return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def _beside(needs: tuple[tuple[str, str], ...]) -> Iterator[Callable[[Row], Row]]:
    """Measure before and after what the signatures alone take; their part of a row's CPU is then known."""
    times = [rates.primitives(*needs)]

    def alone(row: Row) -> Row:
        mean = sum(times) / len(times)
        return {"signatures_us": round(mean, 1), "ratio": round(mean / float(row["cpu_us"]), 3)}

    yield alone
    times.append(rates.primitives(*needs))
