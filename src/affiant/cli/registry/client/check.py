"""`affiant client check`."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from affiant.cli.connection.admin import Admin
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import instant, show

_DAY = 86_400


@click.command()
@click.argument("name", required=False)
@click.option("--days", type=click.IntRange(1, 365), default=7, help="how far to look back (default: 7)")
@admin_options
def check(name: str | None, days: int, place: Place) -> None:
    """List services that strict rules would stop.

    From what they sent: those with a legacy policy, and those observed.

    \b
    affiant client check
    affiant client check old --days 30

    A service that is not listed sent nothing in that time that strict rules would refuse.
    """
    found = place.run(lambda api: _breaches(api, name, time.time() - days * _DAY))
    lines = [
        f"{one['client_id']}  {one['reason']}  {one['times']} times, last {instant(one['last_at'])}"
        f"  affiant explain {one['trace_id']}"
        for one in found
    ]
    show(found, *(lines or [f"no client would be refused: 0 violations in the last {days} days"]))


async def _breaches(api: Admin, name: str | None, since: float) -> list[dict[str, Any]]:
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
