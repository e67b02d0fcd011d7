"""The checks of a client, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from affiant.cli.diagnosis.checkup import api as apis
from affiant.cli.diagnosis.checkup import credentials as own
from affiant.cli.diagnosis.checkup import network, server
from affiant.cli.diagnosis.checkup.finding import Check, Examined, Finding, run

# In this order: each may use what those before it found.
CLIENT: Sequence[Check] = (
    own.credentials,
    own.key,
    own.certificate,
    network.name,
    network.tls,
    server.discovery,
    network.clock,
    server.methods,
    server.token,
    apis.api,
    apis.call,
)


def examine(credentials: Path | None, scope: str | None, resource: str | None, api: str | None) -> Iterator[Finding]:
    return run(CLIENT, Examined(credentials, resource, scope, api))
