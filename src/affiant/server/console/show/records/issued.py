"""The tokens that were issued within the last hour, from the audit log: what a revocation would end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from affiant.server.console.api import Api
from affiant.storage.entries import LONGEST_TOKEN

_PAGE, _PAGES = 1000, 5  # records that are read, the newest first
Has = Callable[[Mapping[str, Any]], bool]


class Issued(NamedTuple):
    """How many tokens each client got; `is_all` is False if there may be more than those that were counted."""

    by_client: Counter[str]
    is_all: bool

    @property
    def total(self) -> int:
        return self.by_client.total()

    def sentence(self, of: str) -> str:
        """Return in words how many tokens `of` something this is: "of the client billing"."""
        least = "" if self.is_all else "At least "
        if not self.total:
            return f"No token {of} was issued in the last hour." if self.is_all else f"Tokens {of} were not counted."
        most = ", ".join(f"{name} ({count:,})" for name, count in self.by_client.most_common(5))
        more = len(self.by_client) - 5
        rest = f" and {more:,} more" if more > 0 else ""
        words = "token {} was" if self.total == 1 else "tokens {} were"
        return f"{least}{self.total:,} {words.format(of)} issued in the last hour, to {most}{rest}."


async def find(api: Api, has: Has, *, client_id: str | None = None) -> Issued:
    """Count the tokens of the last hour whose records `has` accepts; of one client only if it is given."""
    found, cursor = Counter[str](), None
    since = api.now - LONGEST_TOKEN
    for _ in range(_PAGES):
        page = await api.get("/audit", outcome="issued", since=since, client_id=client_id, limit=_PAGE, cursor=cursor)
        records = [row["record"] for row in page["items"]]
        found.update(str(one.get("client_id")) for one in records if has(one))
        cursor = page["next"]
        if cursor is None:
            return Issued(found, is_all=True)
    return Issued(found, is_all=False)
