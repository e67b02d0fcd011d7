"""Plan an import: the clients of an export that the server would take, as steps of `affiant apply`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from affiant.cli.connection.admin import Admin
from affiant.cli.registry.importing import audiences
from affiant.cli.registry.importing.entry import Entry, Export
from affiant.cli.registry.manifest import client_keys, commands, dry_run
from affiant.cli.registry.manifest import plan as manifest
from affiant.cli.registry.manifest.commands import Planned
from affiant.cli.registry.manifest.plan import Found, Step
from affiant.cli.registry.manifest.registry_file import Desired, DesiredClient, mistake
from affiant.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Import:
    """An export that was compared with the registry."""

    export: Export  # refused clients are marked
    desired: Desired
    planned: Planned
    missing: Mapping[str, int]  # APIs that are not registered, and how many clients name each
    issuer: str

    @property
    def refused(self) -> list[Entry]:
        return [entry for entry in self.export.entries if entry.refused]


async def build(api: Admin, export: Export, *, with_apis: bool) -> Import:
    """Compare an export with the registry, and let the server judge each client."""
    found = await commands.read_all(api)
    export, wanted = _parse(export)
    export, steps = _steps(export, wanted, found)
    missing = audiences.missing(export.entries, found.of("api"))
    apis = [audiences.build(name, export) for name in missing] if with_apis else []
    first = manifest.build(Desired(apis=apis), found)
    refused, needs = await dry_run.judge(api, [step.as_change() for step in (*first, *steps)])
    _check_apis(refused)
    export = _refuse(export, {one["name"]: dry_run.why(one) for one in refused})
    taken = {entry.name for entry in export.entries if entry.is_taken}
    kept = [step for step in steps if step.name in taken]
    desired = Desired(apis=apis, clients=[one for name, one in wanted.items() if name in taken])
    notes = [*export.notes, *client_keys.notes(desired, found.clients)]
    return Import(export, desired, Planned([*first, *kept], needs, [], notes), missing, api.issuer)


def _parse(export: Export) -> tuple[Export, dict[str, DesiredClient]]:
    """Return the clients by name; one whose members cannot be is refused, and so is a second one of a name."""
    wanted: dict[str, DesiredClient] = {}
    refused: dict[int, str] = {}
    for number, entry in enumerate(export.entries):
        if not entry.is_taken:
            continue
        try:
            if entry.name in wanted:
                raise ConfigError("another client of the export has this client_id")
            if len(json.dumps(entry.members)) + len(entry.secret or "") > dry_run.MOST_BYTES:
                raise ConfigError(f"its members are larger than {dry_run.MOST_BYTES >> 10} KiB")
            # An empty list would take from a registered client what an operator gave it here.
            members = {name: value for name, value in entry.members.items() if value != []}
            wanted[entry.name] = DesiredClient.model_validate(members)
        except ValidationError as error:
            refused[number] = "; ".join(map(mistake, error.errors()))
        except ConfigError as error:
            refused[number] = str(error)
    entries = [replace(one, refused=refused.get(number, one.refused)) for number, one in enumerate(export.entries)]
    return replace(export, entries=tuple(entries)), wanted


def _steps(export: Export, wanted: Mapping[str, DesiredClient], found: Found) -> tuple[Export, list[Step]]:
    """Return the steps; a client that is registered and cannot become as wanted is refused."""
    registered, steps, refused = found.of("client"), list[Step](), dict[str, str]()
    for entry in export.entries:
        if not entry.is_taken:
            continue
        try:
            step = manifest.of_client(wanted[entry.name], registered.get(entry.name))
        except ConfigError as error:
            refused[entry.name] = str(error)
            continue
        if step is not None:
            steps.append(replace(step, secret=entry.secret) if step.action == "create" else step)
    return _refuse(_with_registered(export, registered), refused), steps


def _with_registered(export: Export, registered: Mapping[str, Any]) -> Export:
    """Return the export without promises about the secrets of clients that are registered: these stay as they are."""
    entries = (
        replace(entry, secret=None, changes=("it is registered already: its credentials stay as they are",))
        if entry.is_taken and entry.name in registered
        else entry
        for entry in export.entries
    )
    return replace(export, entries=tuple(entries))


def _refuse(export: Export, refused: Mapping[str, str]) -> Export:
    entries = (
        replace(one, refused=refused[one.name]) if one.is_taken and one.name in refused else one
        for one in export.entries
    )
    return replace(export, entries=tuple(entries))


def _check_apis(refused: Sequence[Mapping[str, Any]]) -> None:
    for one in refused:
        if one["kind"] == "api":
            raise ConfigError(f"the server would refuse the API {one['name']}: {dry_run.why(one)}")
