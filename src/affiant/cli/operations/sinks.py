"""`affiant audit sinks`."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.connection.admin import segment
from affiant.cli.connection.data import check_data
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, show, show_list

_COLUMNS = ("SINK", "NUMBER", "BEHIND", "SECONDS", "PROBLEM")


@click.command()
@click.option(
    "--forget", metavar="NAME", help="remove a sink that is no longer configured: archives no longer wait for it"
)
@admin_options
def sinks(forget: str | None, place: Place) -> None:
    """List audit sinks, and how far each is behind.

    NUMBER is of the last record that the sink has. The settings audit_file, audit_syslog and audit_webhook name sinks.

    \b
    affiant audit sinks
    affiant audit sinks --forget audit_webhook
    """
    if not place.is_remote:
        check_data(place.chosen)
    if forget is not None:
        place.delete(f"/audit/sinks/{segment(forget)}")
        show({"name": forget}, f"forgot   {forget}")
        return
    show_list(place.get("/audit/sinks")["items"], Listing(_COLUMNS, _cells, _line, "no sink has begun yet"))


def _cells(sink: dict[str, Any]) -> tuple[object, ...]:
    return (sink["name"], sink["number"], sink["records_behind"], sink["seconds_behind"], sink["problem"] or "")


def _line(sink: dict[str, Any]) -> str:
    return "  ".join(str(cell) for cell in _cells(sink) if cell != "")
