"""Leave a failing server alone: as long as it asked for, or after several failures in a row for a while that grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from affiant.errors import Refused, RemoteError
from affiant.system import forks

FAILURES = 5  # in a row, after which requests pause
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds
LONGEST_RETRY_AFTER = 3600.0  # seconds for which Retry-After is obeyed
PROBE_SECONDS = 30.0  # for which the first request after a pause keeps others from being sent


class Change(NamedTuple):
    name: Literal["breaker.opened", "breaker.half_open", "breaker.closed"]
    seconds: float | None = None


class Breaker:
    """The state of one server, for all tokens of one client. Each method returns how the state changed, if it did."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = forks.Lock()
        self._failures = 0
        self._closed_at = self._closed_until = float("-inf")
        self._last: RemoteError | None = None

    def check(self) -> Change | None:
        """Raise the last failure, without a request, during a pause. After it, one request may be sent as a probe."""
        now = self._clock()
        with self._lock:
            if self._last is None:
                return None
            # A clock that was set back ends the pause, which would last for as long as that otherwise.
            if self._closed_at <= now < self._closed_until:
                raise _again(self._last, self._closed_until - now)
            if self._failures < FAILURES:
                return None
            self._close(now, PROBE_SECONDS)
            return Change("breaker.half_open")

    def succeed(self) -> Change | None:
        with self._lock:
            had, self._failures, self._last = self._last, 0, None
            return Change("breaker.closed") if had is not None else None

    def fail(self, error: RemoteError) -> Change | None:
        """Count a failure: of the network or the server, not a refusal of this client."""
        now = self._clock()
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES:
                self._close(now, _pause(self._failures))
                self._last = error
            if error.retry_after is not None:
                self._close(now, min(error.retry_after, LONGEST_RETRY_AFTER))
                self._last = error
            return Change("breaker.opened", self._closed_until - now) if self._last is error else None

    def _close(self, now: float, seconds: float) -> None:
        self._closed_at, self._closed_until = now, now + seconds


def _pause(failures: int) -> float:
    import random  # noqa: PLC0415 - slow to load, and most programs never get here

    # Jitter: clients that failed together must not come back together.
    growth = 2.0 ** min(failures - FAILURES, 10)
    return min(FIRST_PAUSE * growth, LONGEST_PAUSE) * random.uniform(0.75, 1)  # noqa: S311


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
