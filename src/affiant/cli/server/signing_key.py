"""`affiant signing-key`: the keys that the server signs access tokens with."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.connection.place import Admin, Place, admin_options, run_admin, segment
from affiant.cli.output import Listing, instant, json_option, show, show_list
from affiant.jose.algorithms import ASYMMETRIC
from affiant.server.keys.calendar import MAX_AGE

_SINCE = {"announced": "signs from", "active": "since", "retiring": "published until", "removed": "since"}


@click.group("signing-key")
def signing_key() -> None:
    """The keys that the server signs access tokens with; nobody needs to do anything for them.

    A key is announced in the key set for 7 days, then it signs for 90, then it stays in the set until no token under it
    can be good. AFFIANT_SIGNING_KEY_DAYS and AFFIANT_SIGNING_KEY_ANNOUNCE_DAYS set other days.

    An API with an algorithm of its own (affiant api new --signing-alg) has keys of its own, which follow each other in
    the same way. Where a PKCS #11 token is set, new keys are made in it.
    """


@signing_key.command("list")
@admin_options
@json_option
def list_(place: Place, as_json: bool) -> None:
    """List the keys, the newest first, and what each may do now."""
    found = [_shown(key) for key in run_admin(place, _keys)]
    show_list(found, _LISTING, as_json=as_json)


@signing_key.command()
@click.option("--now", "at_once", is_flag=True, help="let it sign in a moment, without the days of announcement")
@click.option("--alg", type=click.Choice(ASYMMETRIC), metavar="ALG", help="what it signs with (default: as before)")
@click.option("--for", "line", metavar="ALG", help="the keys of the APIs that have chosen this algorithm")
@admin_options
@json_option
def rotate(at_once: bool, alg: str | None, line: str | None, place: Place, as_json: bool) -> None:
    """Announce the next key, which signs after the days of announcement. The one before stays good for its tokens.

    \b
    affiant signing-key rotate
    affiant signing-key rotate --now
    affiant signing-key rotate --alg PS256
    affiant signing-key rotate --for RS256

    --now suits APIs that fetch the key set anew when they meet a key that they do not know, as affiant's guard does.
    Others refuse its tokens until their copy of the key set ends.

    --alg: the first key is ES256, which every API gateway verifies. Every one verifies RS256 too, most PS256; several
    do not know Ed25519, and hardly anything but affiant verifies ML-DSA, whose tokens are 4 to 7 KB long: too long for
    some proxies. An API that cannot verify the new algorithm refuses every token under it: look into each one's list
    first (the `algorithms` of its guard). The keys that follow have the same algorithm. For one API alone:
    affiant api update NAME --signing-alg ALG.
    """
    if alg and line:
        raise click.UsageError("give either --alg or --for: keys of an algorithm that APIs have chosen keep it")
    wanted = {"at_once": at_once, "alg": alg, "line": line}

    async def work(admin: Admin) -> tuple[dict[str, Any], str | None]:
        before = [key["alg"] for key in await _keys(admin) if key["state"] == "active" and key["line"] == line]
        members = {name: value for name, value in wanted.items() if value is not None}
        return await admin.post("/signing-keys", members), before[0] if before else None

    made, before = run_admin(place, work)
    lines = [f"key {made['kid']}  {made['alg']}  signs from {instant(made['active_at'])}"]
    if before not in (None, made["alg"]):
        lines.append(f"! until now it was {before}: an API that does not verify {made['alg']} will refuse every token")
    show(_shown(made), "\n".join(lines), as_json=as_json)


@signing_key.command()
@click.argument("kid")
@admin_options
@json_option
def remove(kid: str, place: Place, as_json: bool) -> None:
    """Remove a key at once, because somebody else may have it. The tokens under it die; its private part is erased.

    If it is the one that signs, the next one signs from now on: the one that is announced, or a new one. So the last
    key can be removed too.

    \b
    affiant signing-key remove 3jWq0c1tRjVQbcwUzUbJmSkrCYbwh9BnR1sD6nCkA4I

    This server honours it no longer within a second. An API notices when its copy of the key set ends: after at most
    5 minutes for affiant's guard, as long as it reaches this server.
    """

    async def work(admin: Admin) -> dict[str, Any]:
        gone: dict[str, Any] = await admin.delete(f"/signing-keys/{segment(kid)}")
        return gone

    gone = run_admin(place, work)
    follows = "no key signs in its place until one is needed"
    if gone["signer"] is not None:
        follows = f"key {gone['signer']}  {gone['alg']}  signs"
    show(gone, f"removed {kid}: APIs refuse its tokens within {MAX_AGE} s\n{follows}", as_json=as_json)


async def _keys(admin: Admin) -> list[dict[str, Any]]:
    return await admin.all("/signing-keys")


def _shown(key: dict[str, Any]) -> dict[str, Any]:
    """The key with its line by the name of the option: --for."""
    return {"for" if name == "line" else name: value for name, value in key.items()}


def _line(key: dict[str, Any]) -> str:
    line = f"  for APIs with {key['for']}" if key["for"] else ""
    return f"{key['kid']}  {key['alg']}  {key['state']}  {_when(key)}{line}"


def _cells(key: dict[str, Any]) -> tuple[object, ...]:
    return key["kid"], key["state"], key["alg"], _when(key), key["for"] or ""


def _when(key: dict[str, Any]) -> str:
    state: str = key["state"]
    at = key["removed_at" if state in ("retiring", "removed") else "active_at"]
    more = f", then {instant(key['retiring_at'])} retiring" if state == "active" and key["retiring_at"] else ""
    return f"{_SINCE[state]} {instant(at)}{more}"


_LISTING = Listing(
    ("KEY", "STATE", "ALG", "WHEN", "FOR APIS WITH"), _cells, _line, "no keys yet: affiant serve makes the first"
)
