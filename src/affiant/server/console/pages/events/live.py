"""The decisions as they come: one look at the audit log for all tabs that may see, and want, the same records.

Each look asks the admin API as a viewer limited to the same teams as the tab's visitor, so what a tab may see is
decided there and nowhere else. However many tabs are open, the looks take a small share of the process's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from affiant.server.admin.roles import Principal, Role
from affiant.server.console.api import Api, Gate, Refusal
from affiant.server.console.pages.events.rows import Row, plot
from affiant.server.console.signin import Visitor

log: logging.Logger = logging.getLogger(__name__)
TABS, TABS_OF_ONE = 60, 12  # of one process, and of one visitor
LOOK_SECONDS = 1.0  # between two looks
SHARE = 0.02  # of the time, which the looks may take on a busy server,
MOST_SECONDS = 5.0  # with no longer rest than this
SHOWN = 100  # records of one look, and dots of the plot
SEARCHED = 2000  # the newest records, in which a later look searches
# Attack: a caller sees what it changed itself. So the name is one that no client and no user can have.
_LOOKER = "the live page"
_WAITING = 4  # pieces of news that wait for a slow tab


class Full(Exception):
    """As many tabs are open as may be."""


class Sight(NamedTuple):
    """The records that a tab gets: those of these teams (None: of all) that these filters choose."""

    teams: frozenset[str] | None
    filters: tuple[tuple[str, str], ...]


class News(NamedTuple):
    """New decisions: rows and plot as HTML, the number of the last record, and whether there were more."""

    number: int
    rows: str
    plot: str
    is_cut: bool


class Tab:
    """One open page; `last` is the number of the last record that it has."""

    def __init__(self, name: str, sight: Sight, last: int) -> None:
        self.name: str = name
        self.sight: Sight = sight
        self.last: int = last
        self.has_missed: bool = False
        self.news: asyncio.Queue[News] = asyncio.Queue(_WAITING)

    def give(self, news: News) -> None:
        self.last = news.number
        try:
            self.news.put_nowait(news)
        except asyncio.QueueFull:
            self.has_missed = True


class Live:
    """All open tabs of one process, and the one task that looks for them."""

    def __init__(self, gate: Gate, render: Callable[..., str], clock: Callable[[], float]) -> None:
        self._gate, self._render, self._clock = gate, render, clock
        self._tabs: set[Tab] = set()
        self._seen: dict[Sight, deque[Row]] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def open(self, visitor: Visitor, filters: tuple[tuple[str, str], ...], after: int) -> Iterator[Tab]:
        """Give a tab its news while it is open, from the record after this number on. Raises Full."""
        if len(self._tabs) >= TABS or Counter(tab.name for tab in self._tabs)[visitor.name] >= TABS_OF_ONE:
            raise Full
        tab = Tab(visitor.name, Sight(visitor.teams, filters), after)
        self._tabs.add(tab)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_for_all())
        try:
            yield tab
        finally:
            self._tabs.discard(tab)
            if not self._tabs and self._looking is not None:
                self._looking.cancel()
                self._looking = None
                self._seen.clear()

    async def _look_for_all(self) -> None:
        while True:
            began = time.perf_counter()
            try:
                await self._look()
            except Refusal as refusal:
                log.info("the live page could not look at the audit log: %s", refusal)
            except Exception:
                log.exception("the live page could not look at the audit log")
            worked = time.perf_counter() - began
            await asyncio.sleep(max(LOOK_SECONDS, min(worked * (1 / SHARE - 1), MOST_SECONDS)))

    async def _look(self) -> None:
        head = (await self._api(None).get("/audit/head"))["number"]
        tabs: defaultdict[Sight, list[Tab]] = defaultdict(list)
        for tab in self._tabs:
            tabs[tab.sight].append(tab)
        self._seen = {sight: rows for sight, rows in self._seen.items() if sight in tabs}
        for sight, watching in tabs.items():
            if any(tab.last < head for tab in watching) or sight not in self._seen:
                await self._tell(sight, watching, head)

    async def _tell(self, sight: Sight, tabs: list[Tab], head: int) -> None:
        """Give these tabs, which see the same, what is new to them."""
        is_first = sight not in self._seen  # the plot shows older records, too
        begin = max(min(tab.last for tab in tabs), head - SEARCHED)
        after = None if is_first else begin
        found = await self._api(sight.teams).get("/audit", limit=SHOWN, after=after, **dict(sight.filters))
        rows = [Row.of(item) for item in found["items"]]
        seen = self._seen.setdefault(sight, deque(maxlen=SHOWN))
        known = seen[-1].number if seen else 0
        seen.extend(row for row in reversed(rows) if row.number > known)
        number = max([head, *(row.number for row in rows[:1])])
        told: dict[int, News] = {}
        for tab in tabs:
            tab.has_missed |= tab.last < begin
            fresh = [row for row in rows if row.number > tab.last]
            if not fresh:
                tab.last = number
                continue
            is_cut = found["next"] is not None and len(fresh) == len(rows)
            if tab.last not in told:
                told[tab.last] = self._show(number, fresh, seen, is_cut=is_cut)
            tab.give(told[tab.last])

    def _show(self, number: int, rows: list[Row], seen: deque[Row], *, is_cut: bool) -> News:
        shown = self._render("events/rows.html", rows=rows, is_new=True)
        return News(number, shown, self._render("events/plot.html", plot=plot(seen)), is_cut)

    def _api(self, teams: frozenset[str] | None) -> Api:
        who = Principal(_LOOKER, Role.VIEWER, is_user=True, teams=teams)
        return self._gate.open(who, {}, _never)


async def _never() -> Any:
    await asyncio.Event().wait()
