"""`affiant revoke` and `affiant issued`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import click

from affiant.cli.arguments import nearest
from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.operations.records import Instant
from affiant.cli.output import instant, is_json, show
from affiant.errors import Error
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import NotFound
from affiant.system.text import printable

_PATHS = {"jti": "/tokens", "client": "/clients", "rule": "/rules", "trust": "/trusts", "api": "/apis"}
_REGISTERED = {
    "client": ("client", "client_id"),
    "rule": ("rule", "name"),
    "trust": ("trust", "name"),
    "api": ("API", "identifier"),
}
_NOT_LIVE = {"jti": "no live token has the jti {}", "family": "no live refresh token is of the family {}"}
_OF_CLIENTS = ("key", "task")
_KINDS = ("jti", "family", "key", "task", "client", "rule", "trust", "api", "all")


@click.command()
@click.option("--jti", metavar="JTI", help="one access token")
@click.option("--family", metavar="ID", help="a family of refresh tokens and its access tokens: affiant issued")
@click.option("--client", metavar="NAME", help="every token of a client until now; with --key, those of that key")
@click.option("--key", metavar="THUMBPRINT", help="every token that this key (or the secret of this id) obtained")
@click.option("--task", metavar="ID", help="every token for this task of --client, or of the one client that had it")
@click.option("--rule", metavar="TRUST/RULE", help="every token that a rule gave until now")
@click.option("--trust", metavar="NAME", help="every token that the rules of a trust gave until now")
@click.option("--api", metavar="IDENTIFIER", help="every token for an API until now")
@click.option("--all", "everything", is_flag=True, help="every token until now; asks, unless --yes")
@click.option("--before", type=Instant(), metavar="TIME", help="only tokens issued until then: 15m (ago), 2026-11-21")
@click.option("--yes", "-y", is_flag=True, help="do not ask")
@admin_options
def revoke(everything: bool, yes: bool, before: float | None, place: Place, **given: str | None) -> None:
    """Clients can get new tokens at once: to stop that, see affiant client disable and affiant client key revoke.

    \b
    affiant revoke --client billing
    affiant revoke --client billing --key 3jWq0c1tRjVQbcwUzUbJmSkrCYbwh9BnR1sD6nCkA4I
    affiant revoke --task invoice-4711
    affiant revoke --jti 4f9d2c8a
    affiant revoke --all --before 2026-11-21T08:00:00Z

    Introspection reports it at once. A guard that verifies tokens by itself learns of it where it reads the server's
    list of revocations; other verifiers accept the token until it expires, within an hour.
    """
    members = _members({**given, "all": "" if everything else None})
    if before is not None:
        members["before"] = int(before)
    if everything and not yes:
        _confirm()

    async def work(api: Admin) -> tuple[dict[str, Any], str | None]:
        if members["kind"] == "rule" and "/" not in members["value"]:
            found = await api.get(f"/rules/{segment(members['value'])}")
            members["value"] = f"{found['trust']}/{found['name']}"
        if members["kind"] == "task" and "client_id" not in members:
            members["client_id"] = await _client_of(api, members["value"])
        # Order: before it revokes, since the caller may revoke its own token.
        note = await _note(api, members)
        return await api.post("/revocations", members), note

    ended, note = place.run(work)
    if note is not None and not is_json():
        click.echo(f"affiant: {note}", err=True)
    show({**ended, **({"note": note} if note is not None else {})}, f"revoked  {_revocation_line(ended)}")


async def _note(api: Admin, members: dict[str, Any]) -> str | None:
    """Return a note about a name that nothing has: it may have been removed, but mostly it is misspelt."""
    kind, name = _named(members)
    with contextlib.suppress(Error):
        if kind == "all" or await _exists(api, kind, name):
            return None
        if kind not in _REGISTERED:
            return printable(_NOT_LIVE[kind].format(name))
        what, member = _REGISTERED[kind]
        close = ""
        with contextlib.suppress(Error):
            close = nearest(name, (row[member] for row in await api.all(_PATHS[kind])))
        return printable(f"no {what} {name} is registered now" + (f": is {close} meant?" if close else ""))
    return None


async def _exists(api: Admin, kind: str, name: str) -> bool:
    """Whether the client or API is registered, or a live token has this jti or family."""
    if kind == "family":
        return any(row["family"] == name for row in await api.all("/refresh-tokens"))
    try:
        found = await api.get(f"{_PATHS[kind]}/{segment(name)}")
    except NotFound:
        return False
    return not found.get("revoked")


async def _client_of(api: Admin, task: str) -> str:
    """Return the one client that got a token for this task within the last hour."""
    found: set[str] = set()

    def take(line: bytes) -> None:
        record = json.loads(line)["record"]
        if record.get("task") == task and record["outcome"] == "issued":
            found.add(record["client_id"])

    await api.lines("/audit", take, since=time.time() - LONGEST_TOKEN)
    if len(found) == 1:
        return found.pop()
    if not found:
        raise NotFound(f"no client got a token for the task {printable(task)} in the last hour: name it by --client")
    raise click.UsageError(f"several clients have this task: choose one by --client: {', '.join(sorted(found))}")


def _named(members: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and the name; of a key or a task, its client, and of a rule the part after its trust."""
    if members["kind"] in _OF_CLIENTS:
        return "client", members["client_id"]
    value = members.get("value", "")
    return members["kind"], value.rpartition("/")[2] if members["kind"] == "rule" else value


def _members(given: dict[str, str | None]) -> dict[str, Any]:
    """Return the members of the request."""
    named = {kind: value for kind in _KINDS if (value := given.get(kind)) is not None}
    for kind in _OF_CLIENTS:
        if kind in named and "client" in named:
            return _checked({"kind": kind, "value": named.pop(kind), "client_id": named.pop("client")}, named)
    if "key" in named:
        raise click.UsageError("--key needs --client, the owner of the key")
    if not named:
        raise click.UsageError(
            "choose what to revoke: --jti, --family, --client, --client with --key, --task, --rule, --trust, --api or"
            " --all"
        )
    kind, value = named.popitem()
    if kind == "jti" and value.startswith("eyJ") and value.count(".") == 2:  # noqa: PLR2004
        raise click.UsageError("--jti takes the jti in the token, not the token:  affiant inspect TOKEN  shows it")
    return _checked({"kind": kind} | ({"value": value} if kind != "all" else {}), named)


def _checked(members: dict[str, str], others: dict[str, str]) -> dict[str, Any]:
    if others:
        raise click.UsageError(f"give either --{members['kind']} or --{next(iter(others))}, not both")
    if members.get("value") == "":
        raise click.UsageError(f"--{members['kind']} is empty")
    return members


def _confirm() -> None:
    if is_json() or not sys.stdin.isatty():
        raise click.UsageError("--all ends every token of every client: pass --yes to confirm")
    click.confirm("Every client must get a new token. End them all?", abort=True)


@click.group()
def issued() -> None:
    """Revoked tokens are listed too. To end a token: affiant revoke.

    \b
    affiant issued refresh-tokens --client billing
    affiant issued find 4f9d2c8a
    affiant issued revocations
    """


@issued.command("refresh-tokens")
@click.option("--client", "client_id", metavar="NAME", help="of this client only")
@admin_options
def refresh_tokens(client_id: str | None, place: Place) -> None:
    """List the valid refresh tokens.

    Each has the family that `affiant revoke --family` ends.
    """
    found = place.all("/refresh-tokens", client_id=client_id)
    show(found, *(map(_refresh_token, found) if found else ["no refresh tokens"]))


@issued.command()
@click.argument("jti")
@admin_options
def find(jti: str, place: Place) -> None:
    """Find an access token by its jti.

    It knows the tokens of the last hour: the client of each, and whether it was revoked.
    """
    found = place.get(f"/tokens/{segment(jti)}")
    members = {**found, "issued_at": instant(found["issued_at"])}
    show(found, *(f"{name:<12}{value}" for name, value in members.items() if value is not None))


@issued.command()
@admin_options
def revocations(place: Place) -> None:
    """List what was revoked, newest first.

    A revocation is listed until every token that it ends has expired.
    """
    found = place.all("/revocations")
    show(found, *(map(_revocation_line, found) if found else ["no revocations"]))


def _revocation_line(row: dict[str, Any]) -> str:
    return f"{instant(row['at'])}  {row['kind']} {row['value']}".rstrip()


def _refresh_token(row: dict[str, Any]) -> str:
    ends = min(row["idle_expires_at"], row["expires_at"])
    scope, resource = " ".join(row["scope"]), " ".join(row["resource"])
    return f"{row['family']}  {row['client_id']}  {resource}  {scope}  expires {instant(ends)} unless used"
