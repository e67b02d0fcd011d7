"""`affiant signing-key`."""

from __future__ import annotations

from typing import Any

import click

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import Listing, instant, note, show, show_list
from affiant.jose.algorithms import ASYMMETRIC
from affiant.server.keys.calendar import MAX_AGE

_SINCE = {"announced": "signs from", "active": "since", "retiring": "published until", "removed": "since"}


@click.group("signing-key")
def signing_key() -> None:
    """The server rotates these keys by itself.

    A key is announced in the key set for 7 days, then it signs for 90, then it stays in the set until the last token
    under it has expired. AFFIANT_SIGNING_KEY_DAYS and AFFIANT_SIGNING_KEY_ANNOUNCE_DAYS set other days.

    An API with an algorithm of its own (affiant api new --signing-alg) has keys of its own, which rotate in the same
    way. With a PKCS #11 token, new keys are made in it. The keys of a KMS are made there, and named here: the server
    never replaces one by itself.
    """


@signing_key.command("list")
@admin_options
def list_(place: Place) -> None:
    """List the keys and their states.

    The newest comes first.
    """
    found = [_renamed(key) for key in place.all("/signing-keys")]
    show_list(found, _LISTING)
    for key in found:
        if key["next_due_at"] is not None:
            note(
                f"make the key that follows {key['kid']} in the KMS by {instant(key['next_due_at'])}, then: {_how(key)}"
            )


@signing_key.command()
@click.option("--now", "at_once", is_flag=True, help="sign in a moment, without the days of announcement")
@click.option("--alg", type=click.Choice(ASYMMETRIC), metavar="ALG", help="what it signs with (default: as before)")
@click.option("--for", "line", metavar="ALG", help="the keys of the APIs that have chosen this algorithm")
@click.option("--key", metavar="NAME", help="a key in a KMS, or new: one that the server makes")
@admin_options
def rotate(at_once: bool, alg: str | None, line: str | None, key: str | None, place: Place) -> None:
    """Announce the next key.

    It signs after the days of announcement. Tokens under the previous key stay valid.

    \b
    affiant signing-key rotate
    affiant signing-key rotate --now
    affiant signing-key rotate --alg PS256
    affiant signing-key rotate --for RS256
    affiant signing-key rotate --key vault:transit/tokens:1

    --key: the key exists in the KMS, and this command lets it sign once to see that it can. Such a key is followed by
    another that you name, or with --key new by keys that the server makes again. The server's own KMS credentials are
    used, so run it with the environment of the server, or over the admin API.

    --now suits APIs that re-read the key set when they meet an unknown key, as affiant's guard does. Other APIs refuse
    its tokens until their copy of the key set expires.

    --alg: the first key is ES256, which every API gateway verifies. Every one verifies RS256 too, most PS256; several
    do not know Ed25519, and hardly anything but affiant verifies ML-DSA, whose tokens are 4 to 7 KB long: too long for
    some proxies. An API that cannot verify the new algorithm refuses every token under it: check each API's list first
    (the `algorithms` of its guard). Later keys have the same algorithm. For one API alone:
    affiant api update NAME --signing-alg ALG.
    """
    if alg and line:
        raise click.UsageError("give either --alg or --for: the keys of chosen algorithms keep their algorithm")
    wanted = {"at_once": at_once, "alg": alg, "line": line, "key": key}

    async def work(api: Admin) -> tuple[dict[str, Any], str | None]:
        keys = await api.all("/signing-keys")
        before = [key["alg"] for key in keys if key["state"] == "active" and key["line"] == line]
        members = {name: value for name, value in wanted.items() if value is not None}
        return await api.post("/signing-keys", members), before[0] if before else None

    made, before = place.run(work)
    lines = [f"key {made['kid']}  {made['alg']}  signs from {instant(made['active_at'])}"]
    if before not in (None, made["alg"]):
        lines.append(f"! until now it was {before}: an API that does not verify {made['alg']} will refuse every token")
    show(_renamed(made), *lines)


@signing_key.command()
@click.argument("kid")
@admin_options
def remove(kid: str, place: Place) -> None:
    """Remove a leaked key at once.

    Every token under it becomes invalid, and its private part is erased. If it is the key that signs, the next one
    signs from now on: the announced one, or a new one. So the last key can be removed too.

    After a key in a KMS, none is made: no key signs until you name one (affiant signing-key rotate --key NAME). The KMS
    still has the removed key: disable or destroy it there.

    \b
    affiant signing-key remove 3jWq0c1tRjVQbcwUzUbJmSkrCYbwh9BnR1sD6nCkA4I

    This server rejects it within a second. An API rejects it when its copy of the key set expires: after at most
    5 minutes for affiant's guard, as long as it reaches this server.
    """
    gone = place.delete(f"/signing-keys/{segment(kid)}")
    follows = "no key signs in its place until one is needed"
    if gone["signer"] is not None:
        follows = f"key {gone['signer']}  {gone['alg']}  signs"
    elif gone["kms"] is not None:
        follows = "no key signs, and no token is issued: name another, affiant signing-key rotate --key NAME"
    lines = [f"removed {kid}: APIs refuse its tokens within {MAX_AGE} s", follows]
    if gone["kms"] is not None:
        lines.append(f"! the KMS still has it, as {gone['kms']}: disable or destroy it there")
    show(gone, *lines)


def _renamed(key: dict[str, Any]) -> dict[str, Any]:
    """Return the key with `line` named as the option: --for."""
    return {"for" if name == "line" else name: value for name, value in key.items()}


def _how(key: dict[str, Any]) -> str:
    line = f" --for {key['for']}" if key["for"] else ""
    return f"affiant signing-key rotate{line} --key NAME"


def _line(key: dict[str, Any]) -> str:
    line = f"  for APIs with {key['for']}" if key["for"] else ""
    place = f"  in {key['kms']}" if key["kms"] else ""
    return f"{key['kid']}  {key['alg']}  {key['state']}  {_when(key)}{line}{place}"


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
