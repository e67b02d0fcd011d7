"""Who proves nothing learns nothing from the clock either: 20,000 requests over HTTP, a nobody against a forgery."""

import http.client
import random
import time
from collections.abc import Iterator
from statistics import median
from urllib.parse import urlencode

import pytest
from tests.process import Server

from affiant import testing
from affiant.jose import keys
from affiant.jose.keys import PrivateKey

PAIRS, WARM_UP, SEED = 10_000, 500, 306
TOLERANCE, SEPARATION = 0.05, 0.55
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}
KNOWN, NOBODY = "known", "nobod"  # as long as each other


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker and no limits, and the client `known`."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AFFIANT_FAILURE_BURST", "0")
        with Server(tmp_path_factory.mktemp("oracle")) as started:
            started.add_api()
            started.affiant("client", "new", KNOWN, "--scope", "orders.read")
            yield started


def _body(server: Server, client_id: str, key: PrivateKey) -> bytes:
    return urlencode(testing.form(server.assertion(client_id, key=key))).encode()


def _ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[float, tuple[int, int, str]]:
    """Seconds until the whole answer is here, and what could be told from it."""
    start = time.perf_counter()
    connection.request("POST", "/token", body, FORM_TYPE)
    reply = connection.getresponse()
    content = reply.read()
    seconds = time.perf_counter() - start
    return seconds, (reply.status, len(content), str(reply.headers["content-length"]))


def _separation(first: list[float], second: list[float]) -> float:
    """How often a request of the second kind takes longer than one of the first: 0.5 tells nothing (AUC)."""
    ranked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks = sum(rank for rank, (_, kind) in enumerate(ranked, 1) if kind)
    area = (ranks - len(second) * (len(second) + 1) / 2) / (len(first) * len(second))
    return max(area, 1 - area)


def _measure(server: Server, forger: PrivateKey) -> dict[str, list[float]]:
    """Pairs of one request of each kind, in an order that is drawn, on one connection; the first pairs are dropped."""
    times: dict[str, list[float]] = {KNOWN: [], NOBODY: []}
    connection, random_, answers = http.client.HTTPConnection("127.0.0.1", server.port), random.Random(SEED), set()
    for _ in range(WARM_UP + PAIRS):
        for client_id in random_.sample((KNOWN, NOBODY), 2):
            seconds, answer = _ask(connection, _body(server, client_id, forger))
            times[client_id].append(seconds)
            answers.add(answer)
    connection.close()
    assert len(answers) == 1, answers
    return {client_id: taken[WARM_UP:] for client_id, taken in times.items()}


@pytest.mark.soak
@pytest.mark.attack(306)
def test_unknown_client_takes_as_long_as_forgery(server: Server) -> None:
    """Medians within 5 %, and no better than a guess for who sees one time only."""
    own = keys.parse_private_jwk(server.credentials(KNOWN)["key"])
    forger = keys.parse_private_jwk({**keys.generate("ES256").to_jwk(), "kid": own.kid})
    times = _measure(server, forger)
    known, nobody = median(times[KNOWN]), median(times[NOBODY])
    difference = median(b - a for a, b in zip(times[KNOWN], times[NOBODY], strict=True))
    separation = _separation(times[KNOWN], times[NOBODY])
    figures = (
        f"known {known * 1e6:.0f} µs, nobody {nobody * 1e6:.0f} µs, median of differences {difference * 1e6:+.1f} µs "
        f"({difference / known:+.2%}), separation {separation:.3f}"
    )
    print(figures)
    assert abs(nobody - known) < TOLERANCE * known, figures
    assert abs(difference) < TOLERANCE * known, figures
    assert separation < SEPARATION, figures
