"""`affiant settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.data import shown_place
from affiant.cli.connection.place import Admin, Place, admin_options, existing, run_admin
from affiant.cli.output import json_option, show
from affiant.system.text import printable


@click.command()
@admin_options
@json_option
def settings(place: Place, as_json: bool) -> None:
    """List the settings, each with its value and its source.

    The source is an option, the environment, affiant.toml, the database (remembered), or the default. Without --url
    they are those of a server that would start now, from this folder and this environment. With --url they are those
    of the server that runs there. The values of secrets are not shown. Change a setting at its source, and restart the
    server.
    """

    async def work(api: Admin) -> tuple[list[dict[str, Any]], str]:
        return await api.get("/settings"), api.issuer

    found, issuer = run_admin(existing(place), work)
    width = max((len(row["name"]) for row in found), default=0)
    lines = [f"{row['name']:<{width}}  {row['source']:<11}  {_plain(row['value'])}" for row in found]
    show(found, "\n".join(map(printable, [*_whose(place, issuer), "", *lines])), as_json=as_json)


def _whose(place: Place, issuer: str) -> list[str]:
    if place.is_remote:
        return [f"settings of the server that runs at {issuer}"]
    return [
        f"settings of a server that would start now from {Path.cwd()}, with the data in {shown_place(place.chosen)}",
        f"a running server keeps those of its start: affiant settings --url {issuer} -c FILE",
    ]


def _plain(value: object) -> str:
    return "-" if value in (None, "") else str(value)
