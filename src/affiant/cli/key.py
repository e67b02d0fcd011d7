"""`affiant key`: the keys that the server signs access tokens with."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.data import store_options, with_store
from affiant.cli.output import json_option, show
from affiant.jose.algorithms import ASYMMETRIC
from affiant.server.keys import calendar, signing_keys
from affiant.server.keys.calendar import MAX_AGE, SEEN_SECONDS, shown_instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affiant.server.keys.master_key import MasterKey
    from affiant.server.settings import Settings
    from affiant.storage.ports import Store
    from affiant.storage.records import SigningKey

_SINCE = {"announced": "signs from", "active": "since", "retiring": "published until", "removed": "since"}


@click.group()
def key() -> None:
    """The keys that the server signs access tokens with; nobody needs to do anything for them.

    A key is announced in the key set for 7 days, then it signs for 90, then it stays in the set until no token under it
    can be good. AFFIANT_SIGNING_KEY_DAYS and AFFIANT_SIGNING_KEY_ANNOUNCE_DAYS set other days.
    """


@key.command("list")
@store_options
@json_option
def list_(chosen: Settings, as_json: bool) -> None:
    """List the keys, the newest first, and what each may do now."""

    async def work(store: Store, _: MasterKey) -> list[SigningKey]:
        return await store.signing_keys.list()

    found, now = with_store(chosen, work), int(time.time())
    text = "\n".join(_line(k, found, now) for k in found) or "no keys yet: affiant serve makes the first"
    show([_shown(k, found, now) for k in found], text, as_json=as_json)


@key.command()
@click.option("--now", "at_once", is_flag=True, help="let it sign in a moment, without the days of announcement")
@click.option("--alg", type=click.Choice(ASYMMETRIC), metavar="ALG", help="what it signs with (default: as before)")
@store_options
@json_option
def rotate(at_once: bool, alg: str | None, chosen: Settings, as_json: bool) -> None:
    """Announce the next key, which signs after the days of announcement. The one before stays good for its tokens.

    \b
    affiant key rotate
    affiant key rotate --now
    affiant key rotate --alg PS256

    --now suits APIs that fetch the key set anew when they meet a key that they do not know, as affiant's guard does.
    Others refuse its tokens until their copy of the key set ends.

    --alg: the first key is ES256, which every API gateway verifies. Every one verifies RS256 too, most PS256; several
    do not know Ed25519, and hardly anything but affiant verifies ML-DSA, whose tokens are 4 to 7 KB long: too long for
    some proxies. An API that cannot verify the new algorithm refuses every token under it: look into each one's list
    first (the `algorithms` of its guard). The keys that follow have the same algorithm.
    """

    async def work(store: Store, master: MasterKey) -> tuple[SigningKey, list[SigningKey]]:
        delay = SEEN_SECONDS if at_once else chosen.calendar.announcement
        before = await store.signing_keys.list()
        made = await signing_keys.rotate(store, master, now=int(time.time()), delay=delay, by=_who(), alg=alg)
        return made, before

    made, before = with_store(chosen, work)
    lines = [f"key {made.kid}  {made.alg}  signs from {shown_instant(made.active_at)}"]
    signer = calendar.find_signer(before, time.time())
    if signer is not None and signer.alg != made.alg:
        lines.append(f"! until now it was {signer.alg}: an API that does not verify {made.alg} will refuse every token")
    show(_shown(made, [made, *before], int(time.time())), "\n".join(lines), as_json=as_json)


@key.command()
@click.argument("kid")
@store_options
@json_option
def remove(kid: str, chosen: Settings, as_json: bool) -> None:
    """Remove a key at once, because somebody else may have it. The tokens under it die; its private part is erased.

    If it is the one that signs, the next one signs from now on: the one that is announced, or a new one.

    \b
    affiant key remove 3jWq0c1tRjVQbcwUzUbJmSkrCYbwh9BnR1sD6nCkA4I

    This server honours it no longer within a second. An API notices when its copy of the key set ends: after at most
    5 minutes for affiant's guard, as long as it reaches this server.
    """

    async def work(store: Store, master: MasterKey) -> SigningKey:
        return await signing_keys.remove(store, master, kid, now=int(time.time()), by=_who())

    signer = with_store(chosen, work)
    data: dict[str, Any] = {"kid": kid, "state": "removed", "signer": signer.kid, "alg": signer.alg}
    text = f"removed {kid}: APIs refuse its tokens within {MAX_AGE} s\nkey {signer.kid}  {signer.alg}  signs"
    show(data, text, as_json=as_json)


def _who() -> str:
    try:
        return f"cli, {getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as containers have
        return "cli"


def _shown(found: SigningKey, among: Sequence[SigningKey], now: int) -> dict[str, Any]:
    """What is shown of a key: never its private part, not even sealed."""
    return {
        "kid": found.kid,
        "alg": found.alg,
        "state": calendar.state(found, among, now),
        "announced_at": found.created_at,
        "active_at": found.active_at or found.created_at,
        "retiring_at": found.retiring_at,
        "removed_at": found.removed_at,
    }


def _line(found: SigningKey, among: Sequence[SigningKey], now: int) -> str:
    members = _shown(found, among, now)
    state: str = members["state"]
    at = members["removed_at" if state in ("retiring", "removed") else "active_at"]
    more = f", then {shown_instant(found.retiring_at)} retiring" if state == "active" and found.retiring_at else ""
    return f"{found.kid}  {found.alg}  {state}  {_SINCE[state]} {shown_instant(at)}{more}"
