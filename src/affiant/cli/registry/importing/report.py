"""Report an import: each client, and what becomes of it. No secret is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from affiant.cli.registry.importing.entry import Entry
from affiant.cli.registry.importing.planning import Import

_WORDS = {"taken": "=", "changed": "~", "skipped": "-", "refused": "!"}


def result(entry: Entry) -> str:
    """Return what becomes of a client, in one word."""
    if entry.refused:
        return "refused"
    if entry.skipped:
        return "skipped"
    return "changed" if entry.changes else "taken"


def as_data(found: Import) -> dict[str, Any]:
    """Return the report as a document."""
    return {
        "source": found.export.source,
        "clients": [_client(entry) for entry in found.export.entries],
        "missing_apis": [{"identifier": name, "clients": number} for name, number in found.missing.items()],
    }


def lines(found: Import, *, with_apis: bool) -> Iterator[str]:
    """Yield the report for people."""
    for entry in found.export.entries:
        word = result(entry)
        yield f"{_WORDS[word]} {word:<7}  {entry.name}{_credential(entry)}"
        yield from (f"    {why}" for why in (entry.skipped, entry.refused) if why)
        yield from (f"    {change}" for change in entry.changes if entry.is_taken)
    if found.missing and not with_apis:
        for name, number in found.missing.items():
            yield f"API {name} is not registered, and {number} of these clients name{'s' * (number == 1)} it"
        yield "to register these APIs as well: --with-apis"
    counts = Counter(map(result, found.export.entries))
    yield f"{found.export.source}: " + ", ".join(f"{counts[word]} {word}" for word in _WORDS)


def last_lines(issuer: str) -> tuple[str, ...]:
    """Return what all imported clients have to change."""
    return (
        f"each client now asks {issuer}/token; its assertions name {issuer} alone as aud",
        "a client that cannot change its aud: affiant client update NAME --audience legacy",
    )


def _client(entry: Entry) -> dict[str, Any]:
    notes = [entry.skipped or entry.refused] if not entry.is_taken else list(entry.changes)
    method = entry.members.get("token_endpoint_auth_method") if entry.is_taken else None
    keeps = entry.secret is not None if entry.is_taken and entry.has_secret else None
    return {
        "client_id": entry.name,
        "result": result(entry),
        "token_endpoint_auth_method": method,
        "keeps_secret": keeps,
        "notes": notes,
    }


def _credential(entry: Entry) -> str:
    if not entry.is_taken:
        return ""
    kept = ", keeps its secret" if entry.secret is not None else ""
    return f"  {entry.members.get('token_endpoint_auth_method')}{kept}"
