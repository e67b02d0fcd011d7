"""One client of an export: as affiant would register it, or why it would not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from affiant.errors import ConfigError
from affiant.oauth import names

_COLON = (
    "its client_id has a colon, which its library must form-encode (RFC 6749 2.3.1); for one that does not: --auth"
    f" {names.CLIENT_SECRET_POST}"
)
Client = TypeVar("Client", bound=Mapping[Any, Any])


class Skipped(Exception):
    """There is nothing to register: affiant has no such clients."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A client of an export."""

    name: str
    members: Mapping[str, Any] = field(default_factory=dict)  # as in the file of `affiant apply`
    secret: str | None = field(default=None, repr=False)  # which it keeps
    changes: tuple[str, ...] = ()  # what will be different, and what to do about it
    skipped: str = ""
    refused: str = ""  # why it cannot be registered, and what to do about it

    @property
    def is_taken(self) -> bool:
        return not (self.skipped or self.refused)

    @property
    def has_secret(self) -> bool:
        return self.members.get("token_endpoint_auth_method") in names.BY_SECRET

    def noting(self, *changes: str) -> Entry:
        """Return the entry with these changes after its own."""
        return replace(self, changes=(*self.changes, *(change for change in changes if change)))


@dataclass(frozen=True, slots=True)
class Export:
    """The clients of an export; and its APIs, by identifier, with their scopes if it names these."""

    source: str
    entries: tuple[Entry, ...]
    apis: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def judge(
    clients: Iterable[Client], build: Callable[[Client], Entry], *, name: Callable[[Client], str]
) -> tuple[Entry, ...]:
    """Return an entry for each client of an export: what `build` makes of it, or why it makes nothing."""
    return tuple(_judge(name(client), client, build) for client in clients)


def _judge(name: str, client: Client, build: Callable[[Client], Entry]) -> Entry:
    try:
        return _noted(build(client))
    except Skipped as reason:
        return Entry(name, skipped=str(reason))
    except ConfigError as error:
        return Entry(name, refused=str(error))


def _noted(entry: Entry) -> Entry:
    """Return the entry with a warning of libraries that send its client_id as it is: the first colon ends it there."""
    is_cut = ":" in entry.name and entry.members.get("token_endpoint_auth_method") == names.CLIENT_SECRET_BASIC
    return entry.noting(_COLON if is_cut else "")
