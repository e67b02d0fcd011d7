"""`affiant plan` and `affiant apply`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from affiant.cli.connection.place import Admin, Place, admin_options, existing, new_or_existing, run_admin
from affiant.cli.output import json_option, show
from affiant.cli.registry import dry_run
from affiant.cli.registry.handover import draft
from affiant.cli.registry.manifest import client_keys, registry_file
from affiant.cli.registry.manifest import plan as planning
from affiant.cli.registry.manifest import steps as taking
from affiant.cli.registry.manifest.plan import Change, Step
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.errors import ConfigError, Error
from affiant.server.admin.roles import Role, identifier
from affiant.system.text import printable

Failure = TypeVar("Failure", bound=BaseException)
DRIFT = 6
_SIGNS = {"create": "+", "update": "~", "remove": "-"}
_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
_prune_option = click.option(
    "--prune", is_flag=True, help="the file is all there is: what it does not name is to be removed"
)
_folder_option = click.option(
    "--credentials-to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="folder for NAME.affiant.json of each client whose secret is made",
)


@dataclass(frozen=True, slots=True)
class _Planned:
    """The steps, the role that they need, what else is registered, and what is to be said of keys.

    Attributes:
        others: kind and name of what the file does not name, and nothing is done to.
    """

    steps: list[Step]
    needs: Role
    others: list[tuple[str, str]]
    notes: list[str]

    @property
    def in_sync(self) -> bool:
        return not self.steps

    def as_data(self) -> dict[str, Any]:
        steps = [
            {"action": step.action, "kind": step.kind, "name": step.name, "changes": [asdict(c) for c in step.changes]}
            for step in self.steps
        ]
        others = [{"kind": kind, "name": name} for kind, name in self.others]
        return {"in_sync": self.in_sync, "steps": steps, "not_in_file": others, "notes": self.notes}

    def __str__(self) -> str:
        counts = {action: sum(step.action == action for step in self.steps) for action in _SIGNS}
        told = f"{counts['create']} to create, {counts['update']} to change, {counts['remove']} to remove"
        lines = [line for step in self.steps for line in _lines(step)]
        lines += [f"note: {printable(note)}" for note in self.notes]
        if self.others:
            lines.append(
                "not in the file, and left alone: " + ", ".join(f"{kind} {name}" for kind, name in self.others)
            )
        return "\n".join([*lines, told if self.steps else "all is as the file says"])


@click.command()
@click.argument("file", type=_FILE)
@_prune_option
@_folder_option
@admin_options
@json_option
def plan(file: Path, prune: bool, folder: Path | None, place: Place, as_json: bool) -> int:
    """Show what differs between FILE (TOML, or JSON) and what is registered, and what `affiant apply` would do.

    Exit code 0: all is as the file says. 6: something differs.

    \b
    affiant plan registry.toml
    affiant plan registry.toml --prune --url https://as.example -c deployer.affiant.json

    What the file leaves out is not its business: members of a client or an API, and whole ones, unless with --prune.
    """
    wanted = registry_file.read(file)
    found = run_admin(existing(place), lambda api: _plan(api, wanted, folder, prune=prune))
    show(found.as_data(), str(found), as_json=as_json)
    return 0 if found.in_sync else DRIFT


@click.command()
@click.argument("file", type=_FILE, required=False)
@_prune_option
@click.option("--yes", "-y", is_flag=True, help="do not ask")
@_folder_option
@click.option("--schema", is_flag=True, help="print the JSON Schema of FILE, for editors")
@admin_options
@json_option
def apply(
    file: Path | None, prune: bool, yes: bool, folder: Path | None, schema: bool, place: Place, as_json: bool
) -> None:
    """Make what is registered what FILE (TOML, or JSON) says: show the plan, ask, and do it.

    \b
    affiant apply registry.toml
    affiant apply registry.toml --prune --yes --url https://as.example -c deployer.affiant.json
    affiant apply --schema > registry.schema.json

    The first failure ends it, and Ctrl-C does between two steps: what was done is said, and stays. Once more goes on
    from there. Nothing is overwritten that somebody else changes meanwhile.

    --prune never removes the admin API, who has a part in it, or clients that registered themselves.
    """
    if schema:
        click.echo(json.dumps(registry_file.schema(), indent=2))
        return
    if file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask at: look at  affiant plan FILE,  then give --yes")
    _apply(registry_file.read(file), place, prune=prune, yes=yes, folder=folder, as_json=as_json)


def _apply(wanted: Desired, place: Place, *, prune: bool, yes: bool, folder: Path | None, as_json: bool) -> None:
    found = run_admin(new_or_existing(place), lambda api: _plan(api, wanted, folder, prune=prune))
    if not as_json:
        click.echo(str(found))
    _check_folder(found.steps, folder)
    if found.steps:
        yes or click.confirm("Do this?", abort=True)
        _take(found, place, folder, as_json=as_json)
    if as_json:
        makers = [step.name for step in found.steps if step.makes_secret]
        written = [str(taking.credentials_path(folder, name)) for name in makers if folder is not None]
        show({**found.as_data(), "in_sync": True, "credentials": written}, "", as_json=True)


def _take(found: _Planned, place: Place, folder: Path | None, *, as_json: bool) -> None:
    """Take the steps, or say which were taken, and which not."""
    steps = found.steps
    taken: list[Step] = []

    def done(step: Step) -> None:
        taken.append(step)
        if not as_json:
            click.echo(f"done  {printable(str(step))}")

    async def work(api: Admin) -> None:
        await dry_run.check_role(api, found.needs)
        await taking.take_all(api, steps, folder, done=done)

    try:
        run_admin(place, work)
    except KeyboardInterrupt:
        raise _told(click.Abort(), steps, taken) from None
    except Error as error:
        raise _told(error, steps, taken) from error.__cause__


async def _plan(api: Admin, wanted: Desired, folder: Path | None, *, prune: bool) -> _Planned:
    apis, clients = await api.all("/apis"), await api.all("/clients")
    keep = planning.unprunable(clients, identifier(api.issuer))
    steps = planning.build(wanted, apis, clients, prune=prune, keep=keep)
    steps += [planning.recovery(name) for name in taking.lost(api, wanted, clients, folder)]
    needs = await dry_run.check(api, [step.as_change() for step in steps], first=keep)
    others = [(kind, name) for kind, name in planning.unnamed(wanted, apis, clients) if not prune or name in keep]
    return _Planned(steps, needs, others, client_keys.notes(wanted, clients))


def _check_folder(steps: Sequence[Step], folder: Path | None) -> None:
    """See before anything is done that each secret can be kept."""
    makers = [step.name for step in steps if step.makes_secret]
    if makers and folder is None:
        raise ConfigError(f"a secret is made for {', '.join(makers)}: say where to, with --credentials-to DIR")
    if makers and not os.access(str(folder), os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} cannot be written")
    for name in makers:
        path = taking.credentials_path(folder or Path(), name)
        if path.exists() and not draft.place(path).exists():
            raise ConfigError(f"{path} exists already: move it away, or choose another folder")


def _told(error: Failure, steps: Sequence[Step], taken: Sequence[Step]) -> Failure:
    """The failure, with what was done before it and what was not."""
    left = [str(step) for step in steps if step not in taken]
    error.add_note("done: " + (", ".join(map(str, taken)) or "nothing"))
    error.add_note("not done: " + (", ".join(left) or "nothing"))
    return error


def _lines(step: Step) -> Iterator[str]:
    yield printable(f"{_SIGNS[step.action]} {step.kind} {step.name}")
    for change in step.changes:
        yield from map(printable, _difference(change) if step.action == "update" else _given(change))


def _given(change: Change) -> Iterator[str]:
    if change.member not in ("identifier", "client_id"):
        yield f"    {change.member}  {_plain(change.after)}"


def _difference(change: Change) -> Iterator[str]:
    yield f"    {change.member}"
    if isinstance(change.before or change.after, list):
        before, after = set(change.before or ()), set(change.after or ())
        yield from (f"      - {value}" for value in sorted(before - after))
        yield from (f"      + {value}" for value in sorted(after - before))
        return
    if change.before is not None:
        yield f"      - {_plain(change.before)}"
    if change.after is not None:
        yield f"      + {_plain(change.after)}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "(none)"
    return value if isinstance(value, str) else json.dumps(value)
