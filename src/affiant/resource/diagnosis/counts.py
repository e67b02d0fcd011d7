"""The counters of a guard: requests by outcome."""

from __future__ import annotations

from affiant.errors import Rejected, RemoteError

UNAVAILABLE = "unavailable"  # the outcome of a request whose token could not be checked: 503


class Counts:
    """Requests by outcome, since the guard was made and in this process.

    The methods of CPython's integers and dicts make each addition whole, so there is no lock. Without the GIL, threads
    may lose one now and then.
    """

    __slots__ = ("accepted", "refused", "unknown")

    def __init__(self) -> None:
        self.accepted: int = 0
        self.refused: dict[str, int] = {}  # by the code of the reason
        self.unknown: int = 0  # tokens that were verified, since the guard had not seen them

    def refuse(self, error: Rejected | RemoteError) -> None:
        outcome = error.reason.code if isinstance(error, Rejected) else UNAVAILABLE
        self.refused[outcome] = self.refused.get(outcome, 0) + 1
