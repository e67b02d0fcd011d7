"""The counters of a guard: requests by outcome."""

from __future__ import annotations

from affiant.errors import Rejected, RemoteError

ACCEPTED, REFUSED = "accepted", "refused"
UNAVAILABLE = "unavailable"  # the outcome of a request whose token could not be checked: 503


class Counts:
    """Requests by outcome, since the guard was made and in this process.

    The methods of CPython's integers and dicts make each addition whole, so there is no lock. Without the GIL, threads
    may lose one now and then.
    """

    __slots__ = ("accepted", "credentials", "refused", "unknown")

    def __init__(self) -> None:
        self.accepted: int = 0
        self.refused: dict[str, int] = {}  # by the code of the reason
        self.unknown: int = 0  # tokens that were verified, since the guard had not seen them
        self.credentials: dict[tuple[str, str], int] = {}  # where API keys are taken: by way and outcome

    def refuse(self, error: Rejected | RemoteError) -> None:
        outcome = error.reason.code if isinstance(error, Rejected) else UNAVAILABLE
        self.refused[outcome] = self.refused.get(outcome, 0) + 1

    def show(self, way: str | None, error: Rejected | RemoteError | None = None) -> None:
        """Count a request by the way in which it authenticates; without any, it has none."""
        if way is not None:
            outcome = ACCEPTED if error is None else REFUSED if isinstance(error, Rejected) else UNAVAILABLE
            self.credentials[way, outcome] = self.credentials.get((way, outcome), 0) + 1
