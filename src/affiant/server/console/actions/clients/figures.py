"""How a client was used lately: what an action breaks, in figures."""

from __future__ import annotations

from affiant.server.console.api import Api
from affiant.system.values import Value

HOUR, DAY = 3600, 86_400
_MOST = 1000  # records that are counted


class Figures(Value, frozen=True):
    """How often a client got a token since an instant; `is_all` is false if there were more than could be counted."""

    issued: int
    refused: int
    is_all: bool

    def said(self, what: str) -> str:
        """Return a sentence, such as: billing used this key 214 times in the last hour."""
        return f"{what} {'' if self.is_all else 'more than '}{self.issued:,} {'time' if self.issued == 1 else 'times'}"


async def last_hour(api: Api, client_id: str, *, now: float, credential: str | None = None) -> Figures:
    """Return the figures of the last hour, for one key (its thumbprint) or secret (its id), or for all of them."""
    found = await api.get("/audit", client_id=client_id, since=now - HOUR, endpoint="token", limit=_MOST)
    records = [one["record"] for one in found["items"]]
    records = [one for one in records if credential in (None, one.get("thumbprint"))]
    issued = sum(one["outcome"] == "issued" for one in records)
    refused = sum(one["outcome"] == "refused" for one in records)
    return Figures(issued, refused, found["next"] is None)
