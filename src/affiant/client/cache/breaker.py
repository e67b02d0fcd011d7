"""Leave a failing server alone: as long as it asked for, or after several failures in a row for a while that grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

from affiant.errors import Refused, RemoteError

FAILURES = 5  # in a row, after which requests pause
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds
LONGEST_RETRY_AFTER = 3600.0  # seconds for which Retry-After is obeyed
PROBE_SECONDS = 30.0  # for which the first request after a pause keeps others from being sent


class Change(NamedTuple):
    name: Literal["breaker.opened", "breaker.half_open", "breaker.closed"]
    seconds: float | None = None


class Breaker:
    """The state of one server, for all of its tokens. Its callers have a lock; `changes` are read without it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_until = float("-inf")
        self._last: RemoteError | None = None
        self.changes = deque[Change](maxlen=16)

    def check(self) -> None:
        """Raise the last failure, without a request, during a pause. After it, one request may be sent as a probe."""
        if self._last is None:
            return
        now = self._clock()
        if now < self._closed_until:
            raise _again(self._last, self._closed_until - now)
        if self._failures >= FAILURES:
            self._closed_until = now + PROBE_SECONDS
            self.changes.append(Change("breaker.half_open"))

    def succeed(self) -> None:
        if self._last is not None:
            self.changes.append(Change("breaker.closed"))
        self._failures, self._last = 0, None

    def fail(self, error: RemoteError) -> None:
        """Count a failure: of the network or the server, not a refusal of this client."""
        self._failures += 1
        now = self._clock()
        if self._failures >= FAILURES:
            import random  # noqa: PLC0415 - slow to load, and most programs never get here

            # Jitter: clients that failed together must not come back together.
            growth = 2.0 ** min(self._failures - FAILURES, 10)
            self._closed_until = now + min(FIRST_PAUSE * growth, LONGEST_PAUSE) * random.uniform(0.75, 1)  # noqa: S311
            self._last = error
        if error.retry_after is not None:
            self._closed_until = now + min(error.retry_after, LONGEST_RETRY_AFTER)
            self._last = error
        if self._last is error:
            self.changes.append(Change("breaker.opened", self._closed_until - now))


def copied(error: Refused) -> Refused:
    """Return the same refusal without the tracebacks of earlier callers."""
    return Refused(
        error.error,
        description=error.description,
        trace_id=error.trace_id,
        status=error.status,
        error_uri=error.error_uri,
        hint=error.hint,
    )


def _again(error: RemoteError, seconds: float) -> RemoteError:
    """Return a failure for one more caller."""
    if isinstance(error, Refused):
        copy: RemoteError = copied(error)
    else:
        copy = type(error)(f"{error} (no request was sent now: the next one may be in {seconds:.0f} s)")
    copy.retry_after = seconds
    return copy
