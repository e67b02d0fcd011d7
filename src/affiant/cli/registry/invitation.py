"""`affiant invitation`: initial access tokens, by which services register themselves."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, new_or_existing, run_admin, segment
from affiant.cli.output import Listing, instant, json_option, show, show_list
from affiant.cli.registry.handover import delivery, draft
from affiant.cli.registry.handover.draft import Draft
from affiant.cli.registry.options import member_options, members
from affiant.client.credentials import put_private
from affiant.errors import ConfigError
from affiant.server.registry import fields
from affiant.storage.records import NotFound

_DAY = 86_400
_REACH = [fields.CLIENT.rows[name] for name in ("scope", "resources", "authorization_details_types")]


@click.group()
def invitation() -> None:
    """Let services register themselves: an invitation is an initial access token (RFC 7591).

    \b
    affiant invitation new --scope orders.read --out billing.invitation
    affiant register https://as.example --initial-access-token-file billing.invitation
    """


@invitation.command()
@member_options(_REACH)
@click.option("--uses", type=click.IntRange(1), default=1, show_default=True, help="how many services it lets in")
@click.option(
    "--expires-in",
    type=click.IntRange(1),
    default=_DAY,
    metavar="SECONDS",
    help=f"how long it is good (default: {_DAY})",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    help="write it to this new file, mode 0600, and do not show it",
)
@admin_options
@json_option
def new(uses: int, expires_in: int, out: Path | None, place: Place, as_json: bool, **options: Any) -> None:
    """Make one; its text is shown this once.

    \b
    affiant invitation new --scope orders.read
    affiant invitation new --scope orders.read --uses 20 --expires-in 604800 --out fleet.invitation

    Whoever has it registers a service for no more than it says. Hand it over as you would a password.
    """
    wanted = {**members(_REACH, options), "uses": uses, "lifetime_seconds": expires_in}

    async def work(api: Admin) -> tuple[dict[str, Any], str]:
        if out is None:
            return await api.post("/initial-access-tokens", wanted), api.issuer
        return await _into(out, api, wanted), api.issuer

    made, issuer = run_admin(new_or_existing(place), lambda api: delivery.to_the_end(work(api)))
    text = made.pop("initial_access_token")
    told = f"initial access token {text}  (shown this once)"
    shown: dict[str, Any] = {"initial_access_token": text}
    if out is not None:
        told, shown = f"initial access token in {out}  (0600: keep it secret)", {"file": str(out)}
    by = out if out is not None else "FILE"
    lines = [_line(made), told, f"next: affiant register {issuer} --initial-access-token-file {by}"]
    show({**made, **shown}, "\n".join(lines), as_json=as_json)


async def _into(out: Path, api: Admin, wanted: dict[str, Any]) -> dict[str, Any]:
    """Issue an invitation and write it to this file; first revoke the one that a stopped run lost."""
    left = draft.take(out)
    if left is not None:
        with contextlib.suppress(NotFound):
            await api.delete(f"/initial-access-tokens/{segment(left.name)}")
    begun = Draft(out, api.issuer, delivery.new_id())
    begun.write()
    made: dict[str, Any] = await delivery.asked(begun, api.post("/initial-access-tokens", {**wanted, "id": begun.name}))
    try:
        put_private(out, made["initial_access_token"] + "\n")
    except ConfigError:
        await api.delete(f"/initial-access-tokens/{segment(begun.name)}")
        begun.remove()
        raise
    begun.remove()
    return made


@invitation.command("list")
@admin_options
@json_option
def list_(place: Place, as_json: bool) -> None:
    """List them, the newest first; those that have expired or are used up too."""

    async def work(api: Admin) -> list[Any]:
        return await api.all("/initial-access-tokens")

    found = run_admin(place, work)
    show_list(found, _LISTING, as_json=as_json)


@invitation.command()
@click.argument("id")
@admin_options
@json_option
def revoke(id: str, place: Place, as_json: bool) -> None:  # noqa: A002 - its name
    """Let nobody in by it any more; whom it let in stays."""

    async def work(api: Admin) -> None:
        await api.delete(f"/initial-access-tokens/{segment(id)}")

    run_admin(place, work)
    show({"id": id, "done": "revoke"}, f"revoked {id}", as_json=as_json)


def _line(found: dict[str, Any]) -> str:
    end = instant(found["expires_at"])
    return f"invitation {found['id']}  {found['uses']} uses left  until {end}  {_reach(found)}".rstrip()


def _cells(found: dict[str, Any]) -> tuple[object, ...]:
    return found["id"], found["uses"], instant(found["expires_at"]), _reach(found)


def _reach(found: dict[str, Any]) -> str:
    return " ".join([*found["scope"], *found["resources"], *found["authorization_details_types"]])


_LISTING = Listing(("INVITATION", "USES LEFT", "UNTIL", "FOR"), _cells, _line, "no invitations: affiant invitation new")
