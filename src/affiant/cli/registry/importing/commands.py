"""`affiant client import`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FILE, NamedPath
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import is_json, show
from affiant.cli.registry.importing import audiences, formats, planning, report
from affiant.cli.registry.importing.credentials import BY_SECRET
from affiant.cli.registry.importing.entry import Export
from affiant.cli.registry.importing.planning import Import
from affiant.cli.registry.manifest import commands as manifest
from affiant.cli.registry.manifest.export import render
from affiant.client.credentials.file import put_private
from affiant.errors import ConfigError
from affiant.system.text import printable

_READABLE = 0o644  # it has no secrets
_EXPORT = NamedPath(path_type=Path, readable=False)  # Auth0's deploy CLI writes a folder


@click.command("import")
@click.argument("file", type=_EXPORT)
@click.option("--from", "source", type=click.Choice(formats.SOURCES), help="format of the export (default: detected)")
@click.option("--dry-run", is_flag=True, help="change nothing, only report: the default")
@click.option("--yes", "-y", is_flag=True, help="register the clients")
@click.option("--skip-refused", is_flag=True, help="go on without the clients that are refused")
@click.option("--client", "chosen", multiple=True, metavar="NAME", help="only this one of the export; may repeat")
@click.option("--with-apis", is_flag=True, help="also register the missing APIs")
@click.option(
    "--api", "renamed", multiple=True, type=audiences.Renamed(), help="an audience and its API here; may repeat"
)
@click.option(
    "--auth",
    type=click.Choice(BY_SECRET),
    default=BY_SECRET[0],
    show_default=True,
    help="how secrets are sent, where the export does not say",
)
@click.option("--write", "target", type=FILE, help="also write a file for `affiant apply`, without secrets")
@manifest.folder_option
@admin_options
def import_(file: Path, place: Place, **options: Any) -> int:
    r"""Import clients of another server.

    FILE is a realm export of Keycloak, a list of clients of Ory Hydra, an export of Auth0, or a CSV file with the
    columns client_id, client_secret, scope, resource, jwks_uri, public_key and method.

    \b
    affiant client import realm.json
    affiant client import realm.json --with-apis --yes
    affiant client import clients.csv --client billing --yes --url https://as.example -c deployer.affiant.json
    affiant client import hydra.json --credentials-to secrets/ --yes

    Clients keep their IDs, keys and secrets. A client whose secret is not in the export gets a new one. Secrets are
    sent to the server, and never printed. A client that is registered already keeps its credentials.

    Exit code 0: everything is as the export says. 6: something differs. 8: a client is refused.
    """
    if options["dry_run"] and options["yes"]:
        raise click.UsageError("give one of --dry-run and --yes")
    export = _choose(formats.read(file, options["source"], auth=options["auth"]), options["chosen"])
    export = audiences.rename(export, dict(options["renamed"]))
    at = place.or_new() if options["yes"] else place
    found = at.run(lambda api: planning.build(api, export, with_apis=options["with_apis"]))
    if not is_json():
        show(None, *report.lines(found, with_apis=options["with_apis"]), *found.planned.lines())
    if options["target"] is not None:
        _write(options["target"], found)
    if found.refused and not options["skip_refused"]:
        raise _refused(found)
    return _finish(found, place, options)


def _finish(found: Import, place: Place, options: Mapping[str, Any]) -> int:
    steps, folder = found.planned.steps, options["folder"]
    written: list[str] = []
    if options["yes"]:
        manifest.check_folder(steps, folder)
        manifest.execute(found.planned, place, folder)
        written = [str(manifest.credentials_path(folder, one.name)) for one in steps if one.makes_secret and folder]
    is_done = options["yes"] or not steps
    if is_json():
        data = {**report.as_data(found), **found.planned.as_data(in_sync=is_done), "credentials": written}
        show(data)
    elif options["yes"]:
        show(None, *report.last_lines(found.issuer))
    else:
        show(None, "nothing was changed: to do this, run the same command with --yes" if steps else "nothing to do")
    return 0 if is_done else manifest.DRIFT


def _choose(export: Export, chosen: tuple[str, ...]) -> Export:
    """Return the export with these clients alone, or all if none is named."""
    if not chosen:
        return export
    unknown = sorted(set(chosen) - {entry.name for entry in export.entries})
    if unknown:
        raise ConfigError(f"the export has no client {', '.join(unknown)}")
    return replace(export, entries=tuple(entry for entry in export.entries if entry.name in chosen))


def _refused(found: Import) -> ConfigError:
    error = ConfigError(
        f"nothing was changed: {len(found.refused)} of {len(found.export.entries)} clients are refused; to go on"
        " without them: --skip-refused"
    )
    for entry in found.refused:
        error.add_note(printable(f"{entry.name}: {entry.refused}"))
    return error


def _write(target: Path, found: Import) -> None:
    """Write the clients and APIs as a file for `affiant apply`; raise ConfigError if it exists."""
    desired = found.desired
    document = {
        "apis": [one.members() for one in desired.apis],
        "clients": [one.members() for one in desired.clients],
    }
    put_private(target, "\n".join(render(document)), mode=_READABLE)
