"""`affiant plan` and `affiant apply`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from affiant.cli.arguments import FILE, NamedPath
from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import is_json, show
from affiant.cli.registry.handover import delivery, draft
from affiant.cli.registry.manifest import client_keys, dry_run, registry_file
from affiant.cli.registry.manifest import plan as planning
from affiant.cli.registry.manifest.plan import KEYS, Change, Found, Step, must_stay
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.client.credentials.file import file_name
from affiant.errors import ConfigError, Error, Refused
from affiant.server.admin.roles import Role, identifier
from affiant.system.text import printable

Failure = TypeVar("Failure", bound=BaseException)
DRIFT = 6
_SIGNS = {"create": "+", "update": "~", "remove": "-"}
_prune_option = click.option("--prune", is_flag=True, help="remove what the file does not name")
folder_option = click.option(
    "--credentials-to",
    "folder",
    metavar="DIR",
    type=NamedPath(path_type=Path, exists=True, file_okay=False),
    help="folder for NAME.affiant.json of each client that gets a secret",
)
_CHANGED = "admin.changed"
_FOLDERS = {"team": "/teams", "api": "/apis", "client": "/clients", "trust": "/trusts", "rule": "/rules"}


@dataclass(frozen=True, slots=True)
class Planned:
    """The steps of a plan, and what a person must know before saying yes."""

    steps: list[Step]
    needs: Role
    others: list[tuple[str, str]]  # kind and name of what the file does not name and leaves alone
    notes: list[str]

    def as_data(self, *, in_sync: bool) -> dict[str, Any]:
        steps = [
            {"action": step.action, "kind": step.kind, "name": step.name, "changes": [asdict(c) for c in step.changes]}
            for step in self.steps
        ]
        others = [{"kind": kind, "name": name} for kind, name in self.others]
        return {"in_sync": in_sync, "steps": steps, "not_in_file": others, "notes": self.notes}

    def lines(self) -> list[str]:
        lines = [line for step in self.steps for line in _lines(step)]
        lines += [f"note: {note}" for note in self.notes]
        if self.others:
            names = ", ".join(f"{kind} {name}" for kind, name in self.others)
            lines.append(f"not in the file, and left alone: {names}")
        counts = {action: sum(step.action == action for step in self.steps) for action in _SIGNS}
        summary = f"{counts['create']} to create, {counts['update']} to change, {counts['remove']} to remove"
        return [*lines, summary if self.steps else "everything is as the file says"]


@click.command()
@click.argument("file", type=FILE)
@_prune_option
@folder_option
@admin_options
def plan(file: Path, prune: bool, folder: Path | None, place: Place) -> int:
    """FILE is TOML or JSON. Nothing is changed.

    Exit code 0: everything is as the file says. 6: something differs.

    \b
    affiant plan registry.toml
    affiant plan registry.toml --prune --url https://as.example -c deployer.affiant.json

    Members that the file leaves out are not compared. Nor are APIs, clients, trusts and rules that it leaves out,
    unless with --prune.
    """
    wanted = registry_file.read(file)
    found = place.run(lambda api: _plan(api, wanted, folder, prune=prune))
    show(found.as_data(in_sync=not found.steps), *found.lines())
    return DRIFT if found.steps else 0


@click.command()
@click.argument("file", type=FILE, required=False)
@_prune_option
@click.option("--yes", "-y", is_flag=True, help="do not ask")
@folder_option
@click.option("--schema", "wants_schema", is_flag=True, help="print the JSON Schema of FILE, for editors")
@admin_options
def apply(file: Path | None, prune: bool, yes: bool, folder: Path | None, wants_schema: bool, place: Place) -> None:
    """FILE is TOML or JSON. The command shows the plan, asks, and executes it.

    \b
    affiant apply registry.toml
    affiant apply registry.toml --prune --yes --url https://as.example -c deployer.affiant.json
    affiant apply --schema > registry.schema.json

    It stops at the first failure, and at Ctrl-C between two steps. It prints the steps that were done, and they stay;
    run it again to continue. It never overwrites a change that was made since the plan.

    --prune never removes the admin API, clients that have a role in it, clients that registered themselves, or the
    rules of these.
    """
    if wants_schema:
        click.echo(json.dumps(registry_file.schema(), indent=2))
        return
    if file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    if not yes and (is_json() or not sys.stdin.isatty()):
        raise click.UsageError("stdin is not a terminal: review  affiant plan FILE,  then pass --yes")
    _apply(registry_file.read(file), place, prune=prune, yes=yes, folder=folder)


def _apply(wanted: Desired, place: Place, *, prune: bool, yes: bool, folder: Path | None) -> None:
    found = place.or_new().run(lambda api: _plan(api, wanted, folder, prune=prune))
    if not is_json():
        show(None, *found.lines())
    check_folder(found.steps, folder)
    if found.steps:
        yes or click.confirm("Do this?", abort=True)
        execute(found, place, folder)
    if is_json():
        names = [step.name for step in found.steps if step.makes_secret]
        written = [str(credentials_path(folder, name)) for name in names if folder is not None]
        show({**found.as_data(in_sync=True), "credentials": written})


def execute(found: Planned, place: Place, folder: Path | None) -> None:
    """Execute the steps; a failure says which were done and which were not."""
    done: list[Step] = []

    def note(step: Step) -> None:
        done.append(step)
        if not is_json():
            click.echo(f"done  {printable(str(step))}")

    async def work(api: Admin) -> None:
        await dry_run.check_role(api, found.needs)
        await take_all(api, found.steps, folder, done=note)

    try:
        place.run(work)
    except KeyboardInterrupt:
        raise _with_notes(click.Abort(), found.steps, done) from None
    except Error as error:
        raise _with_notes(error, found.steps, done) from error.__cause__


async def _plan(api: Admin, wanted: Desired, folder: Path | None, *, prune: bool) -> Planned:
    found = await read_all(api)
    keep = planning.unprunable(found, identifier(api.issuer))
    planned = planning.build(wanted, found, prune=prune, keep=keep)
    planned += [planning.recovery(name) for name in lost(api, wanted, found.clients, folder)]
    needs = await dry_run.check(api, [step.as_change() for step in planned], first=keep)
    others = [one for one in planning.unnamed(wanted, found) if not prune or one in keep]
    return Planned(planned, needs, others, client_keys.notes(wanted, found.clients))


async def read_all(api: Admin) -> Found:
    """Return all that is registered."""
    return Found(**{f"{kind}s": await api.all(_FOLDERS[kind]) for kind in KEYS})


def check_folder(planned: Sequence[Step], folder: Path | None) -> None:
    """Raise ConfigError, before anything is done, if a secret could not be saved."""
    names = [step.name for step in planned if step.makes_secret]
    if names and folder is None:
        needs = "gets a client secret" if len(names) == 1 else "get client secrets"
        raise ConfigError(f"{', '.join(names)} {needs}: pass --credentials-to DIR to save it")
    if names and not os.access(str(folder), os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} cannot be written")
    for name in names:
        path = credentials_path(folder or Path(), name)
        if path.exists() and not draft.place(path).exists():
            raise ConfigError(f"{path} exists already: move it away, or choose another folder")


def _with_notes(error: Failure, planned: Sequence[Step], done: Sequence[Step]) -> Failure:
    left = [str(step) for step in planned if step not in done]
    error.add_note("done: " + (", ".join(map(str, done)) or "nothing"))
    error.add_note("not done: " + (", ".join(left) or "nothing"))
    return error


def _lines(step: Step) -> Iterator[str]:
    yield f"{_SIGNS[step.action]} {step.kind} {step.name}"
    for change in step.changes:
        if step.action == "update":
            yield from _difference(change)
        elif change.member != KEYS[step.kind]:
            yield f"    {change.member}  {_text(change.after)}"


def _difference(change: Change) -> Iterator[str]:
    yield f"    {change.member}"
    if isinstance(change.before or change.after, list):
        before, after = set(change.before or ()), set(change.after or ())
        yield from (f"      - {value}" for value in sorted(before - after))
        yield from (f"      + {value}" for value in sorted(after - before))
        return
    if change.before is not None:
        yield f"      - {_text(change.before)}"
    if change.after is not None:
        yield f"      + {_text(change.after)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "(none)"
    if isinstance(value, dict) and (keys := [key for key in value.get("keys", ()) if isinstance(key, dict)]):
        return f"a JWK Set with the keys {' '.join(str(key.get('kid')) for key in keys)}"
    return value if isinstance(value, str) else json.dumps(value)


def lost(api: Admin, wanted: Desired, clients: Sequence[Mapping[str, Any]], folder: Path | None) -> Iterator[str]:
    """Yield the clients of the file with a lost secret: a stopped run created it, but wrote no file to this folder."""
    named = {client.client_id for client in wanted.clients} if folder is not None else set()
    for client in clients:
        name = client["client_id"]
        left = draft.find(credentials_path(folder or Path(), name)) if name in named else None
        if left is not None and left.issuer == api.issuer and delivery.is_lost(left, client):
            yield name


async def take_all(api: Admin, steps: Sequence[Step], folder: Path | None, *, done: Callable[[Step], None]) -> None:
    """Execute these steps, and pass each one to `done`.

    Ctrl-C ends it between two steps, so that a new secret always gets its file.
    """
    for step in steps:
        await delivery.to_the_end(_take(api, step, folder, done))


async def _take(api: Admin, step: Step, folder: Path | None, done: Callable[[Step], None]) -> None:
    if step.action == "remove":
        await _remove(api, step)
    elif step.recovers_secret:
        await _recover(api, step, folder or Path())
    elif step.action == "update":
        await _change(api, step)
    else:
        await _create(api, step, folder)
    done(step)


async def _create(api: Admin, step: Step, folder: Path | None) -> None:
    if step.makes_secret and folder is None:
        raise ConfigError(f"{step.name} gets a client secret: pass --credentials-to DIR to save it")
    if step.makes_secret:
        await delivery.register(api, step.members, credentials_path(folder or Path(), step.name))
    else:
        await api.post(_FOLDERS[step.kind], step.document)
    if step.then:
        path = _path(step)
        await api.patch(path, step.then, etag=(await api.read(path))[1])


async def _recover(api: Admin, step: Step, folder: Path) -> None:
    left = draft.find(credentials_path(folder, step.name))
    if left is None or await delivery.finish(api, left, {"client_id": step.name}) is None:
        raise _changed(step)


async def _remove(api: Admin, step: Step) -> None:
    path = _path(step)
    found, etag = await api.read(path)
    if step.kind == "client" and must_stay(found, identifier(api.issuer)):
        raise _changed(step)
    with _unchanged(step):
        await api.delete(path, etag=etag)


async def _change(api: Admin, step: Step) -> None:
    path = _path(step)
    found, etag = await api.read(path)
    if not step.is_still(found):
        raise _changed(step)
    with _unchanged(step):
        await api.patch(path, step.members, etag=etag)


def _path(step: Step) -> str:
    return f"{_FOLDERS[step.kind]}/{segment(step.name)}"


@contextlib.contextmanager
def _unchanged(step: Step) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if error.error != _CHANGED:
            raise
        raise _changed(step, error.trace_id) from None


def _changed(step: Step, trace_id: str | None = None) -> Refused:
    what = f"{step.kind} {step.name} has changed since the plan was made: plan again"
    return Refused(_CHANGED, description=what, trace_id=trace_id, status=412)


def credentials_path(folder: Path, client_id: str) -> Path:
    """Return the path of this client's credentials file."""
    return folder / file_name(client_id)
