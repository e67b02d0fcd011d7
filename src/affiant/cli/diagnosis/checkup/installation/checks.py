"""The checks of a server, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from affiant.cli.diagnosis.checkup.finding import Finding, run
from affiant.cli.diagnosis.checkup.installation import chosen, contents, database, machine, outside
from affiant.cli.diagnosis.checkup.installation.inspected import Check, Installation
from affiant.server.settings import Settings

# In this order: each may use what those before it found.
SERVER: Sequence[Check] = (
    machine.data,
    machine.files,
    machine.disk,
    machine.open_files,
    machine.workers,
    machine.ntp,
    chosen.weak_settings,
    chosen.master_key,
    chosen.own_certificate,
    database.database,
    contents.contents,
    contents.signing_keys,
    contents.clients,
    contents.unfinished,
    contents.growth,
    contents.archive,
    contents.sinks,
    contents.backup,
    outside.issuer,
)


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found at the data of these settings; nothing is created or changed."""
    return run(SERVER, Installation(settings))
