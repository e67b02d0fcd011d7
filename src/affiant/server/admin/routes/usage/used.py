"""The use of clients and APIs, for their documents: a few queries for a page of a list, whatever its length."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from affiant.server.admin import documents
from affiant.server.admin.calls import Call
from affiant.server.settings.options import Options
from affiant.storage.history.counts import API, DAY, HOUR, ISSUED, REFUSED, SECONDS, SERVER, Selection, begin
from affiant.storage.records import Client, KeyUse

PAGE_OF_DOCS = "docs/how-to/counts.md"
OFTEN = 60  # tokens in an hour; a client that asks for fewer is no burden
_TOO_OFTEN = 10  # times as many tokens as are needed


@dataclass(slots=True)
class Used:
    """How a client, or an API, was used; an hour and a day that are not over yet count."""

    uses: list[KeyUse] = field(default_factory=list)
    tokens_24h: int = 0
    refusals_24h: int = 0
    tokens_30d: int = 0
    refusals_30d: int = 0

    @property
    def last_at(self) -> int | None:
        return max((use.last_at for use in self.uses), default=None)

    def members(self) -> dict[str, Any]:
        """Return the members of documents.UsedClient."""
        return {
            "uses": sum(use.count for use in self.uses),
            "last_used_at": self.last_at,
            "tokens_24h": self.tokens_24h,
            "refusals_24h": self.refusals_24h,
            "tokens_30d": self.tokens_30d,
            "refusals_30d": self.refusals_30d,
        }

    def is_unused(self, client: Client, since: int) -> bool:
        """Whether a client was registered before `since`, and not used from then on."""
        return client.created_at < since and (self.last_at or 0) < since


def hours(now: int, number: int = 24) -> tuple[str, int, int]:
    """Return the beginning of a Selection: so many hours, the present one included."""
    return HOUR, begin(HOUR, now) - (number - 1) * SECONDS[HOUR], now + 1


def days(now: int, number: int = 30) -> tuple[str, int, int]:
    """Return the beginning of a Selection: so many days, the present one included."""
    return DAY, begin(DAY, now) - (number - 1) * SECONDS[DAY], now + 1


async def find(call: Call, client_ids: Sequence[str]) -> dict[str, Used]:
    """Return the use of each of these clients."""
    used: defaultdict[str, Used] = defaultdict(Used)
    store, named = call.context.store, tuple(client_ids)
    for use in await store.key_uses.list(*named):
        used[use.client_id].uses.append(use)
    for total in await store.counts.totals(Selection(*hours(call.now), named, (ISSUED, REFUSED))):
        of = used[total.client_id]
        of.tokens_24h += total.count if total.kind == ISSUED else 0
        of.refusals_24h += total.count if total.kind == REFUSED else 0
    for total in await store.counts.totals(Selection(*days(call.now), named, (ISSUED, REFUSED))):
        of = used[total.client_id]
        of.tokens_30d += total.count if total.kind == ISSUED else 0
        of.refusals_30d += total.count if total.kind == REFUSED else 0
    return {client_id: used[client_id] for client_id in named}


async def find_last(call: Call, client_ids: Sequence[str]) -> dict[str, Used]:
    """Return when each of these clients was used last, without its counts."""
    used: defaultdict[str, Used] = defaultdict(Used)
    for use in await call.context.store.key_uses.list(*client_ids):
        used[use.client_id].uses.append(use)
    return {client_id: used[client_id] for client_id in client_ids}


async def find_apis(call: Call) -> dict[str, Used]:
    """Return the use of each API, by its identifier."""
    used: defaultdict[str, Used] = defaultdict(Used)
    counts = call.context.store.counts
    for total in await counts.totals(Selection(*hours(call.now), (SERVER,), (API,))):
        used[total.label].tokens_24h = total.count
    for total in await counts.totals(Selection(*days(call.now), (SERVER,), (API,))):
        used[total.label].tokens_30d = total.count
    return used


@dataclass(frozen=True, slots=True)
class Asking:
    """How often a client asked for a token in an hour, and how often it would have with a cache."""

    tokens: int
    needed: int
    seconds: int  # that its tokens live

    @property
    def is_too_often(self) -> bool:
        return self.tokens >= OFTEN and self.tokens > _TOO_OFTEN * self.needed

    @property
    def sentence(self) -> str:
        minutes = f"{self.seconds // 60} minutes" if self.seconds >= 120 else f"{self.seconds} seconds"  # noqa: PLR2004
        enough = f"one each {minutes} would do" if self.needed * self.seconds <= SECONDS[HOUR] else ""
        enough = enough or f"{self.needed:,} would do, one each {minutes} for each API"
        return (
            f"asked for {self.tokens:,} tokens in an hour; {enough}: keep the token until it expires ({PAGE_OF_DOCS})"
        )


async def find_asking(call: Call, client_ids: Sequence[str]) -> dict[str, Asking]:
    """Return how often each of these clients asked, in the last whole hour or in this one."""
    counts, named = call.context.store.counts, tuple(client_ids)
    tokens: Counter[str] = Counter()
    for row in await counts.list(Selection(*hours(call.now, 2), named, (ISSUED,))):
        tokens[row.client_id] = max(tokens[row.client_id], row.count)
    apis: defaultdict[str, list[str]] = defaultdict(list)
    for total in await counts.totals(Selection(*days(call.now, 2), named, (API,))):
        apis[total.client_id].append(total.label)
    found = {}
    for client_id in named:
        client = await call.context.store.clients.find(client_id)
        if client is not None:
            lives = [_lifetime(call, client, identifier) for identifier in apis[client_id] or [""]]
            needed = sum(math.ceil(SECONDS[HOUR] / seconds) for seconds in lives)
            found[client_id] = Asking(tokens[client_id], needed, min(lives))
    return found


def with_use(
    shown: documents.Client, used: Used, asking: Asking | None = None, over_budget: str | None = None
) -> documents.UsedClient:
    """Return the document of a client with its use."""
    advice = asking.sentence if asking is not None and asking.is_too_often else None
    return documents.UsedClient(**shown.model_dump(), **used.members(), advice=advice, over_budget=over_budget)


def _lifetime(call: Call, client: Client, identifier: str) -> int:
    """Return the seconds that a token of this client for this API lives."""
    found = [setting.value for setting in call.context.settings if setting.name == "access_token_lifetime"]
    usual = found[0] if found and isinstance(found[0], int) else Options().access_token_lifetime
    api = call.context.directory.api(identifier)
    limits = (client.access_token_lifetime or usual, api.access_token_lifetime if api else None)
    return min(seconds for seconds in limits if seconds is not None)
