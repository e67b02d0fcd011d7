"""`affiant console`: sign-in links, users, passkeys and sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.operations.console import links
from affiant.cli.operations.console.user import user
from affiant.cli.operations.console.words import PASSKEYS, SESSIONS, USERS
from affiant.cli.output import instant, show, show_list
from affiant.cli.registry.options import member_options, members
from affiant.server.admin.routes.users.documents import USER
from affiant.server.admin.routes.users.rules import LINK_SECONDS, MAX_LINK_SECONDS
from affiant.server.registry.fields import By
from affiant.storage.records import NotFound

_NEW = USER.by(By.NEW)


@click.group()
def console() -> None:
    """People sign in to the console with a link, once, and from then on with a passkey.

    \b
    affiant console link
    affiant console link alice --role operator --team payments
    affiant console users
    """


@console.command()
@click.argument("name", metavar="[USER]", required=False)
@member_options(_NEW)
@click.option(
    "--expires-in",
    type=click.IntRange(60, MAX_LINK_SECONDS),
    default=LINK_SECONDS,
    metavar="SECONDS",
    help=f"how long it is valid (default: {LINK_SECONDS})",
)
@admin_options
def link(name: str | None, expires_in: int, place: Place, **options: Any) -> None:
    """Print a link that signs a user in, once.

    \b
    affiant console link
    affiant console link alice --role operator --team payments
    affiant console link alice --url https://as.example

    It adds a user that does not exist: the first one as an owner, later ones as viewers unless --role says otherwise.
    USER is by default the name of the OS user. A new link replaces the one before. Whoever opens it is that user.
    """
    username = name or links.own_name()
    if username is None:
        raise click.UsageError("give the name of a user: affiant console link alice")
    wanted = members(_NEW, options)
    made = place.run(lambda api: links.make(api, username, wanted, expires_in=expires_in))
    show(made, made["url"], f"signs {made['user']} in, once, until {instant(made['expires_at'])}")


@console.command()
@admin_options
def users(place: Place) -> None:
    """List the users."""
    show_list(place.all("/users"), USERS)


@console.command()
@click.argument("name", metavar="[USER]", required=False)
@admin_options
def sessions(name: str | None, place: Place) -> None:
    """List the sessions, of all users or of one."""
    show_list(place.all("/sessions", user=name), SESSIONS)


@console.command()
@click.argument("ids", metavar="SESSION...", nargs=-1, required=True)
@admin_options
def end(ids: Sequence[str], place: Place) -> None:
    """End sessions.

    SESSION is an id of `affiant console sessions`; its beginning is enough.
    """

    async def work(api: Admin) -> list[str]:
        known = [row["id"] for row in await api.all("/sessions")]
        chosen = [_match(text, known) for text in ids]
        for one in chosen:
            await api.delete(f"/sessions/{segment(one)}")
        return chosen

    ended = place.run(work)
    show({"ended": ended}, *(f"ended {one}" for one in ended))


@console.command()
@click.argument("name", metavar="USER")
@admin_options
def passkeys(name: str, place: Place) -> None:
    """List the passkeys of a user."""
    show_list(place.get(f"/users/{segment(name)}/passkeys"), PASSKEYS)


@console.command("remove-passkey")
@click.argument("name", metavar="USER")
@click.argument("passkey")
@admin_options
def remove_passkey(name: str, passkey: str, place: Place) -> None:
    """Remove a passkey and end its sessions.

    PASSKEY is an id of `affiant console passkeys`; its beginning is enough.
    """
    path = f"/users/{segment(name)}/passkeys"

    async def work(api: Admin) -> str:
        chosen = _match(passkey, [row["id"] for row in await api.get(path)])
        await api.delete(f"{path}/{segment(chosen)}")
        return chosen

    removed = place.run(work)
    show({"id": removed, "done": "remove"}, f"removed {removed}")


console.add_command(user)


def _match(text: str, known: Sequence[str]) -> str:
    found = [one for one in known if one.startswith(text)]
    if len(found) != 1 or not text:
        raise NotFound(f"{len(found)} ids begin with {text}")
    return found[0]
