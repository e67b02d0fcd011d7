"""How a client was used lately: what an action breaks, in figures."""

from __future__ import annotations

from affiant.server.console.api import Api
from affiant.system.values import Value

HOUR, DAY = 3600, 86_400
_KINDS = ("issued", "refused", "key")


class Figures(Value, frozen=True):
    """How often a client got a token, and was refused one, within so many minutes."""

    issued: int
    refused: int
    minutes: int

    @property
    def span(self) -> str:
        return f"in the last {self.minutes} minutes"

    def said(self, what: str) -> str:
        """Return a sentence, such as: billing used this key 214 times in the last 80 minutes."""
        return f"{what} {self.issued:,} {'time' if self.issued == 1 else 'times'} {self.span}."


async def last_hour(api: Api, client_id: str, *, credential: str | None = None) -> Figures:
    """Return the figures of one key (its thumbprint) or secret (its id), or of all credentials of a client.

    They are of 60 to 120 minutes: counts of a client are by the hour, and the audit log has too many records to count.
    """
    found = await api.get("/counts", unit="hour", client_id=client_id, since=int(api.now) - HOUR)
    sums = dict.fromkeys(_KINDS, 0)
    for one in found["series"]:
        if one["kind"] in sums and (one["kind"] != "key" or one["label"] == credential):
            sums[one["kind"]] += one["total"]
    issued = sums["issued"] if credential is None else sums["key"]
    return Figures(issued, sums["refused"], int(api.now - found["since"]) // 60)


async def used_in_a_day(api: Api, client_id: str) -> dict[str, int]:
    """Return how often each credential of a client was used in the last 24 hours, by its thumbprint or id."""
    found = await api.get("/counts", unit="hour", client_id=client_id, kind="key", since=int(api.now) - DAY)
    return {one["label"]: one["total"] for one in found["series"]}
