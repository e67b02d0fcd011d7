"""Which entries of authorization_details a client gets (RFC 9396 section 5): all that it asks for, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from affiant.errors import Rejected
from affiant.oauth.parameters.authorization_details import Details, locations
from affiant.reasons import Reason
from affiant.server.registry.directory import RegisteredClient
from affiant.storage.records import Api


def grant(asked: Details, client: RegisteredClient, apis: Sequence[Api]) -> Details:
    """The entries, when the client may have each at the APIs that its token is for."""
    for entry in asked:
        _check(entry, client, apis)
    return asked


def at(granted: Details, apis: Sequence[Api]) -> Details:
    """Those of the entries that are for these APIs: fewer, perhaps, than they were granted for."""
    return tuple(entry for entry in granted if _is_for(entry, apis))


def types(apis: Iterable[Api]) -> list[str]:
    """The types that these APIs understand, each once."""
    return sorted({name for api in apis for name in api.authorization_details_types})


def _check(entry: dict[str, Any], client: RegisteredClient, apis: Sequence[Api]) -> None:
    there = set(locations(entry))
    if not there <= {api.identifier for api in apis}:
        raise Rejected(Reason.DETAILS_NOT_ALLOWED, expected=f"locations among {_named(apis)}")
    if not _is_for(entry, apis) or entry["type"] not in client.record.authorization_details_types:
        told = [api for api in apis if not there or api.identifier in there]
        allowed = [name for name in types(told) if name in client.record.authorization_details_types]
        raise Rejected(Reason.DETAILS_NOT_ALLOWED, expected=f"type {' or '.join(allowed)}" if allowed else "none")


def _is_for(entry: dict[str, Any], apis: Sequence[Api]) -> bool:
    """Whether each place that the entry names is one of these APIs, and knows its type."""
    there = set(locations(entry))
    understood = {api.identifier for api in apis if entry["type"] in api.authorization_details_types}
    # Where the entry says no place, it is for whichever of the APIs knows its type.
    return there <= understood and bool(understood)


def _named(apis: Sequence[Api]) -> str:
    return " ".join(api.identifier for api in apis)
