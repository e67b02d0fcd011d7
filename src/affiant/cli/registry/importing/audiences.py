"""Match the audiences of another server with APIs here: an identifier is an absolute URI (RFC 8707 section 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import click

from affiant.cli.registry.importing.entry import Entry, Export
from affiant.cli.registry.manifest.registry_file import DesiredApi
from affiant.oauth.parameters import resource_indicator


class Renamed(click.ParamType[tuple[str, str]]):
    """An audience and the identifier of its API here, written ``OLD=URL``."""

    name = "OLD=URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        old, _, new = value.partition("=")
        if not old or not _is_identifier(new):
            self.fail("write OLD=URL: an audience of the export, and the identifier of its API here", param, ctx)
        return old, new


def rename(export: Export, renamed: Mapping[str, str]) -> Export:
    """Return the export with identifiers of APIs as audiences; a client loses those that are none, and says so."""
    apis = {renamed.get(name, name): scopes for name, scopes in export.apis.items()}
    entries = tuple(_rename(entry, renamed) for entry in export.entries)
    return replace(export, entries=entries, apis={name: one for name, one in apis.items() if _is_identifier(name)})


def missing(entries: Iterable[Entry], registered: Iterable[str]) -> dict[str, int]:
    """Return the APIs that are not registered, and how many clients name each."""
    counts = Counter(name for entry in entries if entry.is_taken for name in entry.members.get("resources", ()))
    return {name: number for name, number in sorted(counts.items()) if name not in set(registered)}


def build(identifier: str, export: Export) -> DesiredApi:
    """Return an API to be registered: with the scopes of the export, or else with those of its clients."""
    of_clients = {
        scope
        for entry in export.entries
        if entry.is_taken and identifier in entry.members.get("resources", ())
        for scope in entry.members.get("scope", ())
    }
    return DesiredApi.model_validate(
        {
            "identifier": identifier,
            "scopes": list(export.apis.get(identifier, sorted(of_clients))),
        }
    )


def _rename(entry: Entry, renamed: Mapping[str, str]) -> Entry:
    before = entry.members.get("resources", ())
    after = [renamed.get(name, name) for name in before]
    lost = [name for name in after if not _is_identifier(name)]
    kept = sorted({name for name in after if name not in lost})
    changes = [f"audience {old} is {renamed[old]} here" for old in before if old in renamed]
    changes += [f"audience {name} is left out, as it is no absolute URI: --api {name}=URL" for name in lost]
    return replace(entry, members={**entry.members, "resources": kept}).noting(*changes) if entry.members else entry


def _is_identifier(name: str) -> bool:
    try:
        resource_indicator.parse(name)
    except ValueError:
        return False
    return True
