"""Select audit records by client, outcome, reason and time, and read the newest of them."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from affiant.cli.connection.admin import Admin
from affiant.storage.entries import OUT_OF_ORDER
from affiant.system.values import Value

REFUSED = "refused"
_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LAST = 1e11  # seconds since 1970 that the admin API accepts
_LONGEST = 10**9  # seconds that the admin API accepts
LOOK_SECONDS = 1.0
_PAGE = 1000
_DAYS = {"today": 0, "yesterday": 1}


class Instant(click.ParamType[float]):
    """Seconds since 1970, given as 2h, today, a date or a number."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = parse_instant(str(value), time.time())
        if found is None:
            self.fail(f"{value!r} is not a time: write 2h (ago), today, 2026-11-21 or 2026-11-21T08:00:00Z", param, ctx)
        return min(max(found, 0.0), _LAST)


class Duration(click.ParamType[int]):
    """Seconds, given as 90d, 12h or 45m."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _AGO.fullmatch(str(value))
        seconds = _seconds(found) if found is not None else 0
        if not 0 < seconds <= _LONGEST:
            self.fail(f"{value!r} is not a time: write 90d, 12h or 45m", param, ctx)
        return seconds


def parse_instant(text: str, now: float) -> float | None:
    """Return the instant that this text means now, in UTC, or None."""
    if text.isascii() and text.isdigit():
        return float(text)
    if text == "now":
        return now
    if (ago := _AGO.fullmatch(text)) is not None:
        return now - _seconds(ago)
    if text in _DAYS:
        return now // 86_400 * 86_400 - _DAYS[text] * 86_400
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _seconds(ago: re.Match[str]) -> int:
    return int(timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds())


class Selection(Value, frozen=True):
    """The records that match every filter."""

    since: float | None = None
    until: float | None = None
    client_id: str | None = None
    outcome: str | None = None
    reason: str | None = None

    @property
    def query(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name) is not None}

    def has(self, members: Mapping[str, Any]) -> bool:
        at = members.get("at")
        moment = at if isinstance(at, int | float) else 0.0
        return (
            (self.since is None or moment >= self.since)
            and (self.until is None or moment < self.until)
            and self.client_id in (None, members.get("client_id"), members.get("client_claimed"))
            and self.outcome in (None, members.get("outcome"))
            and self.reason in (None, members.get("reason"))
        )


ALL = Selection()


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--client, --refused, --outcome, --reason, --since and --until, which reach the command as `wanted`."""

    @click.option("--client", "client_id", metavar="ID", help="of this client, proved or claimed")
    @click.option("--refused", is_flag=True, help="only what was refused")
    @click.option("--outcome", metavar="WORD", help="such as issued, refused, limited, revoked")
    @click.option("--reason", metavar="CODE", help="refused for this reason, such as assertion.replayed")
    @click.option(
        "--since", type=Instant(), metavar="TIME", help="from this time on: 2h (ago), today, 2026-11-21 (UTC)"
    )
    @click.option("--until", type=Instant(), metavar="TIME", help="before this time")
    @functools.wraps(command)
    def run(*arguments: Any, refused: bool, **options: Any) -> Any:
        given = {name: options.pop(name) for name in Selection.__struct_fields__}
        if refused and given["outcome"] not in (None, REFUSED):
            raise click.UsageError(f"give either --refused or --outcome {given['outcome']}: one record has one outcome")
        if refused:
            given["outcome"] = REFUSED
        return command(*arguments, wanted=Selection(**given), **options)

    return run


async def newest(api: Admin, wanted: Selection, count: int) -> list[Any]:
    """Return this many records at most, the newest first."""
    found: list[Any] = []
    cursor: str | None = None
    while len(found) < count:
        page = await api.get("/audit", limit=min(count - len(found), _PAGE), cursor=cursor, **wanted.query)
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    return found


async def follow(api: Admin, wanted: Selection, count: int, take: Callable[[Any], None]) -> None:
    """Pass on the newest records, and then each new one, in their order; never return."""
    last = await _last(api)
    rows = await newest(api, wanted, count)
    while True:
        for row in reversed(rows):
            take(row)
        seen = max([last, *rows], key=_number)
        await asyncio.sleep(LOOK_SECONDS)
        last = await _last(api)
        rows = await _after(api, wanted, seen) if _number(last) > _number(seen) else []


async def _last(api: Admin) -> dict[str, Any]:
    items = (await api.get("/audit", limit=1))["items"]
    return items[0] if items else {}


async def _after(api: Admin, wanted: Selection, seen: dict[str, Any]) -> list[Any]:
    """Return the matching records with a higher number, the newest first, without reading older pages."""
    at = seen.get("record", {}).get("at")
    query = dict(wanted.query)
    if isinstance(at, int | float):
        query["since"] = max(query.get("since", 0.0), at - OUT_OF_ORDER, 0.0)
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = await api.get("/audit", limit=_PAGE, cursor=cursor, **query)
        new = [row for row in page["items"] if _number(row) > _number(seen)]
        found += new
        cursor = page["next"]
        if cursor is None or len(new) < len(page["items"]):
            return found


async def breaches(api: Admin, name: str | None, since: float) -> list[dict[str, Any]]:
    """Count what a stricter policy would refuse, by client and reason."""
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def take(line: bytes) -> None:  # the newest comes first
        record = json.loads(line)["record"] if b'"observed"' in line else {}
        for code in (record.get("observed") or "").split():
            client_id = record["client_id"]
            new = {"client_id": client_id, "reason": code, "times": 0}
            row = found.setdefault((client_id, code), new | {"last_at": record["at"], "trace_id": record["trace_id"]})
            row["times"] += 1

    await api.lines("/audit", take, client_id=name, since=since)
    return [found[key] for key in sorted(found)]


def _number(row: dict[str, Any]) -> int:
    return int(row.get("number", 0))
