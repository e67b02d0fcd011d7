"""`affiant settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from affiant.cli.operations.road import admin_options, existing, run_admin
from affiant.cli.output import json_option, show
from affiant.storage.audit_chain import shown

if TYPE_CHECKING:
    from affiant.cli.operations.road import Admin, Place


@click.command()
@admin_options
@json_option
def settings(place: Place, as_json: bool) -> None:
    """List the settings, each with its value and what set it: an option, the environment, affiant.toml, or nobody.

    Here they are those of a server that would start now, in this folder and environment; with --url, those of the
    server that runs there. The values of secrets are not shown. They are changed where they are set, and take effect
    when the server starts.
    """

    async def work(api: Admin) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await api.get("/settings")
        return found

    found = run_admin(existing(place), work)
    width = max((len(row["name"]) for row in found), default=0)
    lines = [f"{row['name']:<{width}}  {row['source']:<11}  {_plain(row['value'])}" for row in found]
    show(found, "\n".join(map(shown, lines)), as_json=as_json)


def _plain(value: object) -> str:
    return "-" if value in (None, "") else str(value)
