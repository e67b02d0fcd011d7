"""The metrics of requests, from the counts of the store: a request adds only its commit and its signature."""

from __future__ import annotations

import time
from collections.abc import Callable

from affiant.errors import Rejected
from affiant.server.registry.key_cache import Fetch, Fetched
from affiant.server.request.counting.counts import TOKEN, Cell, Counts
from affiant.telemetry import Telemetry
from affiant.telemetry.samples import Number, Samples

_TOKENS, _OTHERS, _SECONDS = "affiant_token_requests_total", "affiant_requests_total", "affiant_request_seconds"


class Meter:
    """The decisions of one process, by the labels of their metrics.

    Attributes:
        committed: takes the seconds of a commit.
        signed: takes the seconds of a signature.
    """

    def __init__(self, counts: Counts, telemetry: Telemetry) -> None:
        self.committed: Callable[[float], None] = telemetry.times("affiant_commit_seconds").observe
        self.signed: Callable[[float], None] = telemetry.times("affiant_signature_seconds").observe
        self._telemetry = telemetry
        self._seconds = counts.seconds
        counts.folded = self._take
        telemetry.watch(self._totals)

    def _take(self, cell: Cell, count: int) -> None:
        _, _, endpoint, method, grant, outcome, reason, *_, latency, _ = cell
        if endpoint == TOKEN:
            self._telemetry.count(_TOKENS, outcome, reason or "", method, grant, number=count)
        else:
            self._telemetry.count(_OTHERS, endpoint, outcome, reason or "", number=count)
        self._telemetry.times(_SECONDS, endpoint).counts[latency] += count

    def _totals(self) -> Samples:
        """Return the sums of the seconds, without a bucket: those are counted by `_take`."""
        empty = [0] * len(self._telemetry.times("affiant_commit_seconds").counts)
        sums: dict[tuple[str, ...], Number] = {(name,): [sum_, *empty] for name, sum_ in self._seconds.items()}
        return {_SECONDS: sums} if sums else {}


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
