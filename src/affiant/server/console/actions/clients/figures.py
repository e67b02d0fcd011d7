"""How a client was used lately: what an action breaks, in figures."""

from __future__ import annotations

from affiant.server.console.api import Api
from affiant.server.console.show.times import utc
from affiant.system.values import Value

HOUR, DAY = 3600, 86_400
_MOST = 1000  # records that are counted one by one


class Figures(Value, frozen=True):
    """How often a client got a token, and was refused one, since an instant."""

    issued: int
    refused: int
    since: str  # such as: in the last hour

    def said(self, what: str) -> str:
        """Return a sentence, such as: billing used this key 214 times in the last hour."""
        return f"{what} {self.issued:,} {'time' if self.issued == 1 else 'times'} {self.since}."


async def last_hour(api: Api, client_id: str, *, credential: str | None = None) -> Figures:
    """Return the figures of the last hour, for one key (its thumbprint) or secret (its id), or for all of them.

    They are those of the audit log, and of the counts where that has too many records: the counts of a client are by
    the hour, so they begin up to an hour earlier.
    """
    found = await api.get("/audit", client_id=client_id, since=api.now - HOUR, endpoint="token", limit=_MOST)
    if found["next"] is not None:
        return await _counted(api, client_id, credential)
    outcomes = [
        one["record"]["outcome"] for one in found["items"] if credential in (None, one["record"].get("thumbprint"))
    ]
    return Figures(outcomes.count("issued"), outcomes.count("refused"), "in the last hour")


async def used_in_a_day(api: Api, client_id: str) -> dict[str, int]:
    """Return how often each credential of a client was used in the last 24 hours, by its thumbprint or id."""
    found = await api.get("/counts", unit="hour", client_id=client_id, kind="key", since=int(api.now) - DAY)
    return {one["label"]: one["total"] for one in found["series"]}


async def _counted(api: Api, client_id: str, credential: str | None) -> Figures:
    found = await api.get("/counts", unit="hour", client_id=client_id, since=int(api.now) - HOUR)
    sums = {"issued": 0, "refused": 0, "key": 0}
    for one in found["series"]:
        if one["kind"] in sums and (one["kind"] != "key" or one["label"] == credential):
            sums[one["kind"]] += one["total"]
    issued = sums["issued"] if credential is None else sums["key"]
    return Figures(issued, sums["refused"], f"since {utc(found['since'])}")
