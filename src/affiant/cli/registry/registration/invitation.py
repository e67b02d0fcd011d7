"""`affiant invitation`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FILE
from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, instant, show, show_list
from affiant.cli.registry.handover import delivery, draft
from affiant.cli.registry.handover.draft import Draft
from affiant.cli.registry.handover.ticket import Ticket
from affiant.cli.registry.options import check_scopes, member_options, members
from affiant.client.credentials.file import put_private
from affiant.errors import ConfigError
from affiant.server.registry import fields
from affiant.storage.records import NotFound

_DAY = 86_400
_PATH = "/initial-access-tokens"
_REACH = [fields.CLIENT.rows[name] for name in ("scope", "resources", "authorization_details_types", "team")]


@click.group()
def invitation() -> None:
    """An invitation is an initial access token (RFC 7591).

    \b
    affiant invitation new --scope orders.read --out billing.invitation
    affiant register https://as.example --initial-access-token-file billing.invitation
    """


@invitation.command()
@member_options(_REACH)
@click.option("--uses", type=click.IntRange(1), default=1, show_default=True, help="how many services may register")
@click.option(
    "--expires-in",
    type=click.IntRange(1),
    default=_DAY,
    metavar="SECONDS",
    help=f"how long it is valid (default: {_DAY})",
)
@click.option("--ticket", is_flag=True, help="print a ticket: the token and the server in one, for  affiant enroll")
@click.option("--out", type=FILE, help="write it to this new file, mode 0600, and do not show it")
@admin_options
def new(uses: int, expires_in: int, ticket: bool, out: Path | None, place: Place, **options: Any) -> None:
    """Make an invitation.

    Its text is shown once.

    \b
    affiant invitation new --scope orders.read --ticket --out billing.ticket
    affiant invitation new --scope orders.read --uses 20 --expires-in 604800 --out fleet.invitation

    Its holder can register a service for no more than it allows. Hand it over as you would a password.
    """
    wanted = {**members(_REACH, options), "uses": uses, "lifetime_seconds": expires_in}

    async def work(api: Admin) -> tuple[dict[str, Any], str]:
        made = await api.post(_PATH, wanted) if out is None else await _into(out, api, wanted, is_ticket=ticket)
        await check_scopes(api, wanted.get("scope", ()))
        return made, api.issuer

    made, issuer = place.or_new().run(lambda api: delivery.to_the_end(work(api)))
    token = made.pop("initial_access_token")
    text = Ticket(issuer, token).text() if ticket else token
    name, member = ("ticket", "ticket") if ticket else ("initial access token", "initial_access_token")
    line, kept = f"{name} {text}  (shown this once)", {member: text}
    if out is not None:
        line, kept = f"{name} in {out}  (0600: keep it secret)", {"file": str(out)}
    following = f"enroll {out or '-'}" if ticket else f"register {issuer} --initial-access-token-file {out or 'FILE'}"
    show({**made, **kept}, _line(made), line, f"next: affiant {following}")


async def _into(out: Path, api: Admin, wanted: dict[str, Any], *, is_ticket: bool) -> dict[str, Any]:
    """Issue an invitation and write it to this file; first revoke the one that a stopped run lost."""
    left = draft.take(out)
    if left is not None:
        with contextlib.suppress(NotFound):
            await api.delete(f"{_PATH}/{segment(left.name)}")
    begun = Draft(out, api.issuer, delivery.new_id())
    begun.write()
    made: dict[str, Any] = await delivery.asked(begun, api.post(_PATH, {**wanted, "id": begun.name}))
    token: str = made["initial_access_token"]
    try:
        put_private(out, (Ticket(api.issuer, token).text() if is_ticket else token) + "\n")
    except ConfigError:
        await api.delete(f"{_PATH}/{segment(begun.name)}")
        begun.remove()
        raise
    begun.remove()
    return made


@invitation.command("list")
@admin_options
def list_(place: Place) -> None:
    """List the invitations.

    The newest comes first; expired and used ones are listed too.
    """
    show_list(place.all(_PATH), _LISTING)


@invitation.command()
@click.argument("id")
@admin_options
def revoke(id: str, place: Place) -> None:  # noqa: A002 - its name
    """Revoke an invitation.

    Services that registered with it stay registered.
    """
    place.delete(f"{_PATH}/{segment(id)}")
    show({"id": id, "done": "revoke"}, f"revoked {id}")


def _line(found: dict[str, Any]) -> str:
    end = instant(found["expires_at"])
    return f"invitation {found['id']}  {found['uses']} uses left  until {end}  {_reach(found)}".rstrip()


def _cells(found: dict[str, Any]) -> tuple[object, ...]:
    return found["id"], found["uses"], instant(found["expires_at"]), _reach(found)


def _reach(found: dict[str, Any]) -> str:
    return " ".join([*found["scope"], *found["resources"], *found["authorization_details_types"]])


_LISTING = Listing(("INVITATION", "USES LEFT", "UNTIL", "FOR"), _cells, _line, "no invitations: affiant invitation new")
