"""The findings of the checks, and the service that they examine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from affiant.client.credentials.file import Credentials
from affiant.client.identity import Service
from affiant.client.token import Token
from affiant.errors import Error
from affiant.oauth.metadata import Metadata
from affiant.system.text import one_line

GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's list. `fix` says what to run or to change, where anything is to be mended."""

    name: str
    state: str
    text: str
    fix: str = ""


@dataclass(slots=True)
class Examined:
    """A service, as far as the checks have come. A check that needs what is None finds nothing."""

    named: Path | None
    resource: str | None
    scope: str | None
    api: str | None
    credentials: Credentials | None = None
    service: Service | None = field(default=None, repr=False)
    alg: str | None = None
    thumbprint: str | None = None  # of the key (RFC 7638), if this machine has the key itself
    server: Metadata | None = None
    token: Token | None = None

    @property
    def wanted_scope(self) -> str | None:
        return self.scope or (self.credentials.scope if self.credentials is not None else None)

    @property
    def wanted_resource(self) -> str | None:
        return self.resource or (self.credentials.resource if self.credentials is not None else None)


Subject = TypeVar("Subject")
Check = Callable[[Examined], Iterator[Finding]]


def run(checks: Iterable[Callable[[Subject], Iterator[Finding]]], examined: Subject) -> Iterator[Finding]:
    """Yield what the checks find, in their order."""
    for check in checks:
        try:
            yield from (finding if finding.state != GOOD else replace(finding, fix="") for finding in check(examined))
        except Error as error:
            yield Finding(check.__name__.replace("_", " "), BAD, one_line(error))
