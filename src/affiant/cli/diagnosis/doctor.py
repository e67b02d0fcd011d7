"""`affiant doctor`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from affiant.cli.diagnosis.checkup import api as apis
from affiant.cli.diagnosis.checkup import credentials as own
from affiant.cli.diagnosis.checkup import network, server
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Check, Examined, Finding, run
from affiant.cli.output import is_json, json_option, show
from affiant.cli.tokens.options import credentials_option, resource_option, scope_option

# In this order: each may use what those before it found.
CLIENT: Sequence[Check] = (
    own.credentials,
    own.key,
    own.certificate,
    network.name,
    network.tls,
    server.discovery,
    network.clock,
    server.methods,
    server.token,
    apis.api,
    apis.call,
)
_MARKS = {GOOD: "\u2713", WARNING: "!", BAD: "\u2717"}
_FAILED = 1


@click.command()
@credentials_option
@scope_option
@resource_option
@click.option("--api", metavar="URL", help="also call this URL of the API, by GET")
@json_option()
def doctor(credentials: Path | None, scope: str | None, resource: str | None, api: str | None) -> None:
    """It looks at the credentials, the way to the server, its metadata and the registration, and asks for a token.

    \b
    affiant doctor -c billing.affiant.json
    affiant doctor -c billing.affiant.json --api https://orders.example/orders

    Each finding is good, a warning (!) or bad, with what to run or to change. No key, secret or token is shown. The
    exit code is 1 if anything is bad.
    """
    examined = Examined(credentials, resource, scope, api)
    found = []
    for finding in run(CLIENT, examined):
        found.append(finding)
        if not is_json():
            show(None, *_lines(finding))
    is_well = all(finding.state != BAD for finding in found)
    if is_json():
        show({"is_well": is_well, "findings": [asdict(finding) for finding in found]})
    if not is_well:
        sys.exit(_FAILED)


def _lines(finding: Finding) -> Iterator[str]:
    yield f" {_MARKS[finding.state]} {finding.name:<12} {finding.text}"
    if finding.fix and finding.state != GOOD:
        yield f"      fix       {finding.fix}"
