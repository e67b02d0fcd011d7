"""`affiant doctor`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import click

from affiant.cli.connection import data
from affiant.cli.connection.data import place_options
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Finding
from affiant.cli.output import is_json, json_option, note, show
from affiant.cli.tokens.options import credentials_option, resource_option, scope_option
from affiant.client.credentials import search
from affiant.errors import ConfigError
from affiant.server.settings import Settings

_MARKS = {GOOD: "\u2713", WARNING: "!", BAD: "\u2717"}
_FAILED = 1
_OF_CLIENT, _OF_SERVER = ("credentials", "scope", "resource", "api"), ("data", "database", "server")


@click.command()
@credentials_option
@scope_option
@resource_option
@click.option("--api", metavar="URL", help="also call this URL of the API, by GET")
@click.option("--server", is_flag=True, default=None, help="examine the server whose data are here")
@place_options
@json_option()
def doctor(**options: Any) -> None:
    """Examine a client: its credentials, the way to the server, metadata and registration; it asks for a token.

    Or examine a server, where its data are: machine, database, keys, backups, and how it is reached at its issuer.

    \b
    affiant doctor -c billing.affiant.json
    affiant doctor -c billing.affiant.json --api https://orders.example/orders
    affiant doctor --server
    affiant doctor --data /var/lib/affiant

    Without an option, the client if credentials are found (see `affiant who`), else the server if its data are.

    Each finding is good, a warning (!) or bad, with what to run or to change. No key, secret or token is shown. The
    exit code is 1 if anything is bad.
    """
    given = [name for name, value in options.items() if value is not None]
    if set(given) & set(_OF_CLIENT) and set(given) & set(_OF_SERVER):
        raise click.UsageError("-c, --scope, --resource and --api are for a client, --server and --data for a server")
    chosen = None if set(given) & set(_OF_CLIENT) else _find_server(options, is_named=bool(given))
    found = list(_show(_examine_server(chosen) if chosen is not None else _examine_client(options)))
    is_well = all(finding.state != BAD for finding in found)
    if is_json():
        of = "client" if chosen is None else "server"
        show({"of": of, "is_well": is_well, "findings": [asdict(finding) for finding in found]})
    if not is_well:
        sys.exit(_FAILED)


def _find_server(options: dict[str, Any], *, is_named: bool) -> Settings | None:
    """Return the settings of the server to examine; None to examine a client."""
    if is_named:
        return data.load(data=options["data"], database=options["database"])
    looked = search.look(None)
    try:
        chosen = data.load()
        is_here = data.has_data(chosen)
    except ConfigError:  # this process is a client's, whatever the settings of a server are
        return None
    if is_here and (looked.found is not None or looked.error is not None):
        note("this looks at the client; the data of a server are here too: affiant doctor --server")
        return None
    return chosen if is_here else None


def _examine_client(options: dict[str, Any]) -> Iterator[Finding]:
    from affiant.cli.diagnosis.checkup import client

    return client.examine(*(options[name] for name in _OF_CLIENT))


def _examine_server(chosen: Settings) -> Iterator[Finding]:
    from affiant.cli.diagnosis.checkup.installation import checks

    return checks.examine(chosen)


def _show(found: Iterable[Finding]) -> Iterator[Finding]:
    """Print each finding as soon as it is there."""
    for finding in found:
        if not is_json():
            show(None, *_lines(finding))
        yield finding


def _lines(finding: Finding) -> Iterator[str]:
    yield f" {_MARKS[finding.state]} {finding.name:<12} {finding.text}"
    if finding.fix:
        yield f"      fix       {finding.fix}"
