"""`affiant enroll`."""

from __future__ import annotations

import os

import click

from affiant.cli.output import json_option, note
from affiant.cli.registry.handover import ticket as tickets
from affiant.cli.registry.registration.register import NAME, alg_option, read_given, register_here
from affiant.errors import LocalError


@click.command()
@click.argument("ticket")
@click.argument("name", default=NAME)
@click.option("--resource", metavar="URL", help="the API that it asks for by default")
@alg_option
@json_option()
def enroll(ticket: str, name: str, resource: str | None, alg: str) -> None:
    """The key is made here, and only its public half is sent.

    The credentials file is NAME.affiant.json; without a NAME, service.affiant.json.

    TICKET is a file's name, or "-" for standard input, or the ticket itself, which other users of this machine can
    then see in the list of processes. An operator makes it with  affiant invitation new --ticket.

    \b
    affiant enroll billing.ticket billing
    affiant enroll - billing < billing.ticket

    The server must name the same issuer as the ticket. After an interruption, run it again.
    """
    found = tickets.parse(_read(ticket))
    register_here(found.issuer, name, found.token, scope=(), resource=resource, alg=alg)


def _read(given: str) -> str:
    if given.startswith(tickets.PREFIX):
        note("others on this machine could see the ticket: next time give its file, or - for standard input")
        return given
    if given != "-" and not os.path.exists(given):  # noqa: PTH110 - a Path raises for a name that is too long
        # The message does not show it: it may be a part of a ticket.
        raise LocalError("this is neither a ticket nor the name of a file: a ticket begins with " + tickets.PREFIX)
    return read_given(given, what="the ticket")
