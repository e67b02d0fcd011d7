"""`affiant trust refused`."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.connection.place import Place, admin_options
from affiant.cli.operations.records import Instant
from affiant.cli.output import Listing, instant, show_list


@click.command()
@admin_options
@click.option("--since", type=Instant(), metavar="TIME", help="from this time on: 2h (ago), today, 2026-11-21 (UTC)")
def refused(place: Place, since: float | None) -> None:
    """List refused tokens by issuer and reason.

    \b
    affiant trust refused
    affiant explain TRACE_ID
    affiant trust add --from-refused TRACE_ID

    Anyone can send a token with any issuer: no trust has verified the signature of one that says `unverified`.
    """
    found = place.get("/refused-tokens", **({} if since is None else {"since": since}))
    show_list(found, _LISTING)


def _cells(one: dict[str, Any]) -> tuple[object, ...]:
    verified = "" if one["verified"] else "unverified"
    newest = instant(one["at"])
    return one["issuer"], one["reason"], one["count"], newest, one["trace_id"], one["subject"] or "", verified


def _line(one: dict[str, Any]) -> str:
    return "  ".join(str(cell) for cell in _cells(one) if cell != "")


_LISTING = Listing(
    ("ISSUER", "REASON", "TOKENS", "NEWEST", "TRACE ID", "SUBJECT", ""), _cells, _line, "no tokens were refused"
)
