"""`affiant client update` and `affiant client check`: what a service is held to, and whom stricter rules would stop."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, run_admin, segment
from affiant.cli.output import json_option, show
from affiant.cli.registry.client.registration import client, given_keys, jwks_of, keys_option
from affiant.cli.registry.options import member_options, members
from affiant.oauth import assertion
from affiant.server.registry import fields
from affiant.server.registry.fields import By

_DAY = 86_400
_CHANGED = fields.CLIENT.by(By.CHANGE)


@client.command()
@click.argument("name")
@member_options(_CHANGED)
@click.option("--enforce", multiple=True, type=click.Choice(assertion.RULES), help="stop observing a rule")
@keys_option
@admin_options
@json_option
def update(name: str, place: Place, as_json: bool, **options: Any) -> None:
    """Change what a service is registered for. What is not named stays as it is.

    \b
    affiant client update billing --scope orders.read --scope orders.write
    affiant client update billing --public-key new.pem
    affiant client update old --audience legacy
    affiant client update old --audience strict --observe audience
    affiant client update msal --lifetime legacy --access-token-lifetime 900
    affiant client update pulsar --auth client_secret_post
    """
    wanted = {**jwks_of(given_keys(None, options)), **members(_CHANGED, options)}
    if options["enforce"]:
        wanted["enforce"] = list(options["enforce"])

    async def work(api: Admin) -> dict[str, Any]:
        changed: dict[str, Any] = await api.patch(f"/clients/{segment(name)}", wanted)
        return changed

    changed = run_admin(place, work)
    if not changed["jwks_left_out"]:
        del changed["jwks_left_out"]
    policies = ", ".join(f"{rule} {changed[f'{rule}_policy']}" for rule in assertion.RULES)
    observed = f"   observed: {', '.join(changed['observe'])}" if changed["observe"] else ""
    show(changed, f"client {name}  {policies}{observed}", as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Breach:
    """What one client did that a stricter policy would refuse."""

    client_id: str
    reason: str
    times: int
    last_at: float
    trace_id: str


@client.command()
@click.argument("name", required=False)
@click.option("--days", type=click.IntRange(1, 365), default=7, help="how far to look back (default: 7)")
@admin_options
@json_option
def check(name: str | None, days: int, place: Place, as_json: bool) -> None:
    """List the services that a strict policy would stop, from what they sent: those on legacy, and those observed.

    \b
    affiant client check
    affiant client check old --days 30

    A service that is not listed sent nothing in that time that strict rules would refuse.
    """
    since = time.time() - days * _DAY

    async def work(api: Admin) -> list[_Breach]:
        return await _breaches(api, name, since)

    found = run_admin(place, work)
    lines = [
        f"{b.client_id}  {b.reason}  {b.times} times, last {_when(b.last_at)}  affiant explain {b.trace_id}"
        for b in found
    ]
    text = "\n".join(lines) or f"none: in {days} days nothing came that strict rules would refuse"
    members = [{n: getattr(b, n) for n in ("client_id", "reason", "times", "last_at", "trace_id")} for b in found]
    show(members, text, as_json=as_json)


async def _breaches(api: Admin, name: str | None, since: float) -> list[_Breach]:
    times: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], tuple[float, str]] = {}

    def take(line: bytes) -> None:  # the newest comes first
        record = json.loads(line)["record"] if b'"observed"' in line else {}
        for code in (record.get("observed") or "").split():
            times[record["client_id"], code] += 1
            last.setdefault((record["client_id"], code), (record["at"], record["trace_id"]))

    await api.lines("/audit", take, client_id=name, since=since)
    return [_Breach(*key, times[key], *last[key]) for key in sorted(times)]


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
