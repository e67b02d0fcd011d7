"""`affiant client`; its `key` and `secret` are in credentials.py."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FILE
from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.operations import records, weaknesses
from affiant.cli.output import Listing, describe, instant, show, show_list
from affiant.cli.registry import public_keys
from affiant.cli.registry.credentials import key, secret
from affiant.cli.registry.handover import delivery, draft
from affiant.cli.registry.importing.commands import import_
from affiant.cli.registry.manifest import dry_run
from affiant.cli.registry.options import check_scopes, member_options, members
from affiant.client.credentials.file import file_name
from affiant.errors import ConfigError, Error
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PrivateKey, PublicKey
from affiant.oauth import assertion, names
from affiant.server.registry import fields
from affiant.server.registry.fields import By
from affiant.server.registry.profiles import GUIDE

_LAST = 10**11  # seconds since 1970 up to which an instant has a date
_NEW = fields.CLIENT.by(By.NEW)
_CHANGED = fields.CLIENT.by(By.CHANGE)
_LEFT_OUT_IF_EMPTY = ("client_secret", "jwks_left_out")
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class _New:
    """A client to be registered, as the admin API takes it, with its new private key."""

    wanted: Mapping[str, Any]
    key: PrivateKey | None
    path: Path | None  # the credentials file to write; None if the owner has the private key


@click.group()
def client() -> None:
    """A service is a client of the server.

    \b
    affiant client new billing --scope orders.read
    affiant client list
    """


client.add_command(key)
client.add_command(secret)
client.add_command(import_)


def keys_option(command: Any) -> Any:
    """--public-key, --jwks and --certificate."""
    for option, help_ in (
        ("--certificate", "for self_signed_tls_client_auth: its certificate, PEM"),
        ("--jwks", "its public keys, as a JWK Set"),
        ("--public-key", "its public key, PEM or JWK"),
    ):
        command = click.option(option, type=FILE, help=help_)(command)
    return command


@client.command()
@click.argument("client_names", metavar="NAME...", nargs=-1, required=True)
@member_options(_NEW)
@keys_option
@admin_options
def new(client_names: tuple[str, ...], place: Place, **options: Any) -> None:
    """Register services, write credentials files.

    The credentials file of each is NAME.affiant.json.

    \b
    affiant client new billing --scope orders.read
    affiant client new shop cart mailer --scope orders.read
    affiant client new partner --public-key partner.pem --scope orders.read
    affiant client new hosted --jwks-uri https://billing.example/jwks.json
    affiant client new legacy --auth client_secret_basic
    affiant client new smart --public-key smart.pem --audience legacy --access-token-lifetime 300
    affiant client new meshed --auth tls_client_auth --tls-san-dns meshed.example
    affiant client new spiffe://example/billing --public-key billing.pem
    affiant client new planner-7 --blueprint planner --kind agent --owner research
    affiant client new deploy --auth federated_jwt --scope orders.write

    NAME is the client_id: 1 to 256 of A-Z a-z 0-9 . _ ~ - : / @ + = , ! ? &. The name of the file has most of them
    percent-encoded. A key is made on this machine, and only its public half is sent. For a service whose public key
    is given, no file is written: the command prints what its owner must know. To finish a run that was stopped, run
    the same command again.
    """
    wanted = members(_NEW, options)
    usual = names.CLIENT_SECRET_JWT if wanted.get("profile") == GUIDE else names.PRIVATE_KEY_JWT
    method, alg = wanted.pop("token_endpoint_auth_method", usual), wanted.pop("token_endpoint_auth_signing_alg", None)
    given, jwks_uri = _given_keys(alg, options), wanted.get("jwks_uri")
    _check_several(client_names, given, wanted)
    wanted |= {"token_endpoint_auth_method": method, **_jwks(given)}
    # A client that authenticates by TLS has the key of its certificate already; everything else is in the file.
    has_file = not (given or jwks_uri) or method in names.BY_TLS
    needs_key = method == names.PRIVATE_KEY_JWT and given is None and jwks_uri is None
    if "blueprint" in wanted:  # its file names that of the blueprint
        has_file, needs_key = True, False
    elif method == names.FEDERATED_JWT:  # it has no credential of its own
        has_file = needs_key = False
    writes = "key" if needs_key else "file" if has_file else "nothing"
    done = _register_all(place, [_build(name, wanted, alg=alg, writes=writes) for name in client_names])
    data = [{n: v for n, v in one.items() if v or n not in _LEFT_OUT_IF_EMPTY} for one in done]
    show(data[0] if len(data) == 1 else data, *(line for one in done for line in _lines(one)))


@client.command()
@click.argument("name")
@member_options(_CHANGED)
@click.option("--enforce", multiple=True, type=click.Choice(assertion.RULES), help="stop observing a rule")
@keys_option
@admin_options
def update(name: str, place: Place, **options: Any) -> None:
    """Change a service.

    Options that are left out change nothing.

    \b
    affiant client update billing --scope orders.read --scope orders.write
    affiant client update billing --public-key new.pem
    affiant client update old --audience legacy
    affiant client update old --audience strict --observe audience
    affiant client update msal --lifetime legacy --access-token-lifetime 900
    affiant client update pulsar --auth client_secret_post
    """
    wanted = {**_jwks(_given_keys(None, options)), **members(_CHANGED, options)}
    if options["enforce"]:
        wanted["enforce"] = list(options["enforce"])

    async def work(api: Admin) -> dict[str, Any]:
        found: dict[str, Any] = await api.patch(f"/clients/{segment(name)}", wanted)
        await check_scopes(api, wanted.get("scope", ()))
        return found

    changed = place.run(work)
    if not changed["jwks_left_out"]:
        del changed["jwks_left_out"]
    policies = ", ".join(f"{rule} {changed[f'{rule}_policy']}" for rule in assertion.RULES)
    observed = f"   observed: {', '.join(changed['observe'])}" if changed["observe"] else ""
    show(changed, f"client {name}  {policies}{observed}")


@client.command("list")
@click.option("--unused", type=records.Duration(), metavar="TIME", help="only those not used for so long: 90d, 12h")
@click.option("--team", metavar="NAME", help="only those of this team")
@click.option("--label", metavar="LABEL", help="only those with this label, such as env=prod")
@admin_options
def list_(unused: int | None, team: str | None, label: str | None, place: Place) -> None:
    """List the services and their use.

    Tokens and refusals are those of the last 24 hours. A service that was registered lately is not unused.

    \b
    affiant client list
    affiant client list --unused 90d
    affiant client list --team payments --label env=prod
    """
    listing = _LISTING if unused is None else _UNUSED
    listing = listing if (team, label) == (None, None) else _CHOSEN
    show_list(place.all("/clients", unused_for=unused, team=team, label=label), listing)


@client.command("show")
@click.argument("name")
@admin_options
def show_(name: str, place: Place) -> None:
    """Show a service, its public keys and its use.

    It never shows a secret.
    """
    found = place.get(f"/clients/{segment(name)}")
    show(found, *describe(found))


@client.command()
@click.argument("name", required=False)
@click.option("--owner", metavar="NAME", help="disable every service of this owner instead")
@admin_options
def disable(name: str | None, owner: str | None, place: Place) -> None:
    """Refuse a service and end its tokens.

    affiant client enable accepts it again.

    \b
    affiant client disable billing
    affiant client disable --owner alice@example.com
    """
    if (name is None) == (owner is None):
        raise click.UsageError("name one service, or --owner NAME for all of an owner")
    if name is not None:
        place.patch(f"/clients/{segment(name)}", {"enabled": False})
        _show_done(name, "disable")
        return
    done = place.run(lambda api: _disable_all(api, str(owner)))
    show(
        [{"client_id": each, "done": "disable"} for each in done],
        *([f"disabled {each}" for each in done] or [f"no enabled client has the owner {owner}: affiant client list"]),
    )


async def _disable_all(api: Admin, owner: str) -> list[str]:
    """Disable the clients of an owner one by one; a failure names those that are disabled already."""
    done: list[str] = []
    try:
        for client in await api.all("/clients"):
            if client["owner"] == owner and client["enabled"]:
                await api.patch(f"/clients/{segment(client['client_id'])}", {"enabled": False})
                done.append(client["client_id"])
    except Error as error:
        error.add_note(f"disabled: {', '.join(done) or 'none'}. To go on, run the same command again")
        raise
    return done


@client.command()
@click.argument("name")
@admin_options
def enable(name: str, place: Place) -> None:
    """Enable a disabled service."""
    place.patch(f"/clients/{segment(name)}", {"enabled": True})
    _show_done(name, "enable")


@client.command()
@click.argument("name")
@admin_options
def remove(name: str, place: Place) -> None:
    """Remove a service and end its tokens."""
    place.delete(f"/clients/{segment(name)}")
    _show_done(name, "remove")


@client.command()
@click.argument("name", required=False)
@click.option("--days", type=click.IntRange(1, 365), default=7, help="how far to look back (default: 7)")
@admin_options
def check(name: str | None, days: int, place: Place) -> None:
    """List services that strict rules would stop.

    They have a legacy policy, or are only observed, and sent requests that a strict policy refuses.

    \b
    affiant client check
    affiant client check old --days 30

    Services without an owner, rules that rest on names, and services that need attention are listed too: their last
    key ends, they are refused often, their clock is wrong, they ask for a token on every call, have a shared secret,
    or are unused. Of each kind the server names ten.
    """
    found = place.run(lambda api: records.breaches(api, name, time.time() - days * _DAY))
    lines = [
        f"{one['client_id']}  {one['reason']}  {one['times']} times, last {instant(one['last_at'])}"
        f"  affiant explain {one['trace_id']}"
        for one in found
    ]
    lines = lines or [f"no client would be refused: 0 violations in the last {days} days"]
    weak = place.run(lambda api: weaknesses.find(api, name))
    show([*found, *weak], *lines, *map(weaknesses.line, weak))


def _register_all(place: Place, clients: Sequence[_New]) -> list[dict[str, Any]]:
    """Register these clients in order. Return each as registered, with `credentials` and, without a file, `hand_over`.

    If a stopped run left a draft, skip the clients whose files exist.
    """
    if any(each.path is not None and draft.place(each.path).exists() for each in clients):
        clients = [each for each in clients if not _is_done(each)]
    for each in clients:
        if each.path is not None:
            draft.check_free(each.path)
    done: list[dict[str, Any]] = []

    async def work(api: Admin) -> None:
        await _check(api, clients)
        for each in clients:
            done.append(await delivery.to_the_end(_register(api, each)))  # noqa: PERF401 - the notes need it after a failure
        await check_scopes(api, clients[0].wanted.get("scope", ()) if clients else ())

    try:
        place.or_new().run(work)
    except Error as error:
        if len(clients) > 1:
            ids = [str(each.wanted["client_id"]) for each in clients]
            error.add_note("registered: " + (", ".join(ids[: len(done)]) or "none"))
            error.add_note("not registered: " + ", ".join(ids[len(done) :]))
        raise
    return done


def _build(name: str, common: Mapping[str, Any], *, alg: str | None, writes: str) -> _New:
    """Return a client to be registered."""
    key = keys.generate(alg or "ES256") if writes == "key" else None
    wanted = {**common, "client_id": name}
    if key is not None:
        wanted["jwks"] = KeySet((key.public(),)).to_jwks()
    if (signs_with := alg or (key.alg if key else None)) is not None:
        wanted["token_endpoint_auth_signing_alg"] = signs_with
    return _New(wanted, key, Path(file_name(name)) if writes != "nothing" else None)


def _is_done(each: _New) -> bool:
    return each.path is not None and each.path.exists() and not draft.place(each.path).exists()


async def _check(api: Admin, clients: Sequence[_New]) -> None:
    """Raise ConfigError if the server would refuse one of several clients; a single one needs no dry run."""
    left = [each for each in clients if each.path is None or not draft.place(each.path).exists()]
    changes = [
        {"action": "create", "kind": "client", "name": each.wanted["client_id"], "members": each.wanted}
        for each in left
    ]
    if len(clients) > 1:
        await dry_run.check(api, changes)


async def _register(api: Admin, each: _New) -> dict[str, Any]:
    if each.path is not None:
        made = await delivery.register(api, each.wanted, each.path, each.key)
        return {**made, "credentials": str(each.path)}
    made = await api.post("/clients", each.wanted)
    return {**made, "credentials": None, "hand_over": delivery.hand_over(made, api.issuer)}


def _check_several(
    client_names: tuple[str, ...], given: tuple[PublicKey, ...] | None, wanted: Mapping[str, Any]
) -> None:
    """Raise UsageError if several clients would share what only one can have."""
    own = [name for name in wanted if name in ("jwks_uri", "client_name") or name.startswith("tls_client_auth_")]
    if len(client_names) > 1 and (given or own):
        what = ", ".join(own) or "a public key"
        raise click.UsageError(f"{what} belongs to one client: register {', '.join(client_names)} one by one")
    if len(set(client_names)) < len(client_names):
        raise click.UsageError("one name is given twice")


def _given_keys(alg: str | None, options: Mapping[str, Any]) -> tuple[PublicKey, ...] | None:
    """Return the keys that --public-key, --jwks or --certificate names; None if none of them is given."""
    named = [option for option in ("public_key", "jwks", "certificate") if options[option] is not None]
    if not named:
        return None
    if len(named) > 1:
        raise ConfigError("give one of --public-key, --jwks and --certificate")
    path = options[named[0]]
    if named == ["jwks"]:
        return public_keys.read_set(path)
    is_certificate = named == ["certificate"]
    return (public_keys.read_certificate(path) if is_certificate else public_keys.read_key(path, alg=alg),)


def _jwks(public: tuple[PublicKey, ...] | None) -> dict[str, Any]:
    return {"jwks": KeySet(public).to_jwks()} if public is not None else {}


def _lines(registered: dict[str, Any]) -> list[str]:
    method = registered["token_endpoint_auth_method"]
    lines = [f"client {registered['client_id']}  {method}"]
    if "finished" in registered:
        lines.append(f"finished: {registered['finished']}")
    if registered.get("client_secret"):
        lines.append(f"client_secret {registered['client_secret']}  (shown this once)")
    if (path := registered["credentials"]) is None:
        return [*lines, *delivery.hand_over_lines(registered["hand_over"])]
    first = ""
    if method in names.BY_TLS:
        first = 'add "certificate" and "certificate_key", whole paths of PEM files, to it; then  '
    return [
        *lines,
        f"credentials {path}  (0600: keep it secret)",
        f"next: {first}{_first_use(registered, path)}",
    ]


def _first_use(registered: dict[str, Any], path: str) -> str:
    """Return the command that gets a token; the one of a client whose tokens are bound has the key for one call."""
    is_bound = registered.get("dpop_bound_access_tokens") is True
    return f"affiant call URL --dpop --credentials {path}" if is_bound else f"affiant token --credentials {path}"


def _show_done(name: str, verb: str) -> None:
    show({"client_id": name, "done": verb}, f"{verb}d {name}")


def _line(found: Mapping[str, Any]) -> str:
    words = (found["client_id"], found["token_endpoint_auth_method"], " ".join(found["scope"]), _used(found))
    return "  ".join(words) + ("" if found["enabled"] else "  (disabled)")


def _used(found: Mapping[str, Any]) -> str:
    at, uses = found.get("last_used_at"), found.get("uses")
    if at is None or not 0 <= at < _LAST:
        return "never used" if uses == 0 else ""
    return f"used {uses} time{'s' * (uses != 1)}, last {instant(at)}"


def _cells(found: Mapping[str, Any]) -> tuple[object, ...]:
    at, uses = found.get("last_used_at"), found.get("uses")
    last = instant(at) if at is not None else "never" if uses == 0 else ""
    state = "enabled" if found["enabled"] else "disabled"
    method, scope = found["token_endpoint_auth_method"], " ".join(found["scope"])
    day = (found.get("tokens_24h") or "", found.get("refusals_24h") or "")
    return found["client_id"], found.get("client_name") or "", state, method, last, *day, uses or "", scope


_LISTING = Listing(
    ("CLIENT", "NAME", "STATE", "AUTHENTICATION", "LAST USED", "TOKENS 24H", "REFUSED 24H", "USES", "SCOPE"),
    _cells,
    _line,
    "no clients: affiant client new NAME",
)
_CHOSEN = replace(_LISTING, empty="no client is so: affiant client list")
_UNUSED = replace(_LISTING, empty="every client was used in that time, or is newer")
