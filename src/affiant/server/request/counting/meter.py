"""The metrics of requests, from the counts of the store: a request adds only when its signature began."""

from __future__ import annotations

import time
from collections.abc import Sequence

from affiant.errors import Rejected
from affiant.server.registry.key_cache import Fetch, Fetched
from affiant.server.request.counting.counts import TOKEN, Cell, Counts, Stamps
from affiant.telemetry import Telemetry

_TOKENS, _OTHERS, _SECONDS = "affiant_token_requests_total", "affiant_requests_total", "affiant_request_seconds"


class Meter:
    """The decisions of one process, by the labels of their metrics, each time that they are folded."""

    def __init__(self, counts: Counts, telemetry: Telemetry) -> None:
        self._commits = telemetry.times("affiant_commit_seconds")
        self._signatures = telemetry.times("affiant_signature_seconds")
        self._telemetry = telemetry
        counts.folded, counts.timed = self._take, self._time

    def _take(self, cell: Cell, count: int) -> None:
        _, _, endpoint, method, grant, outcome, reason, *_, latency, _ = cell
        if endpoint == TOKEN:
            self._telemetry.count(_TOKENS, outcome, reason or "", method, grant, number=count)
        else:
            self._telemetry.count(_OTHERS, endpoint, outcome, reason or "", number=count)
        self._telemetry.times(_SECONDS, endpoint).counts[latency] += count

    def _time(self, every: Sequence[Stamps]) -> None:
        for endpoint, started, signing, decided, counted in every:
            self._telemetry.times(_SECONDS, endpoint).total += counted - started  # `_take` counts its bucket
            if decided is not None:
                self._commits.observe(counted - decided)
                if signing is not None:
                    self._signatures.observe(decided - signing)


def timed(fetch: Fetch | None, telemetry: Telemetry, document: str) -> Fetch | None:
    """Return the same function, which counts how long its fetches of this kind of document take."""
    if fetch is None:
        return None
    times = telemetry.times("affiant_fetch_seconds", document)

    async def fetch_timed(uri: str, *, ca: str | None = None) -> Fetched:
        began = time.perf_counter()
        try:
            return await fetch(uri, ca=ca)
        except Rejected as error:
            telemetry.count("affiant_fetch_failures_total", document, error.reason.code)
            raise
        finally:
            times.observe(time.perf_counter() - began)

    return fetch_timed
