"""`affiant settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.admin import Admin
from affiant.cli.connection.data import shown_place
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import show


@click.command()
@admin_options
def settings(place: Place) -> None:
    """The source is an option, the environment, affiant.toml, the database (remembered), or the default.

    Without --url, these are the settings of a server that would start now in this folder and environment. With --url,
    they are those of that running server. Secrets are not shown. To change a setting, change it at its source and
    restart the server.
    """

    async def work(api: Admin) -> tuple[list[dict[str, Any]], str]:
        return await api.get("/settings"), api.issuer

    found, issuer = place.run(work)
    if place.is_remote:
        head = [f"settings of the server that runs at {issuer}"]
    else:
        data = shown_place(place.chosen)
        head = [
            f"settings of a server that would start now from {Path.cwd()}, with the data in {data}",
            f"a running server keeps those of its start: affiant settings --url {issuer} -c FILE",
        ]
    width = max((len(row["name"]) for row in found), default=0)
    rows = [f"{row['name']:<{width}}  {row['source']:<11}  {_text(row['value'])}" for row in found]
    show(found, *head, "", *rows)


def _text(value: object) -> str:
    return "-" if value in (None, "") else str(value)
