"""Changes that can be undone: those of members alone, of what the admin API can change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from affiant.server.admin.routes.users.documents import USER
from affiant.server.registry import fields as registry
from affiant.server.registry import kinds
from affiant.server.registry.federation import fields as federation
from affiant.server.registry.fields import Member, Table

PATHS = {
    "client": "/clients/{}",
    "api": "/apis/{}",
    "trust": "/trusts/{}",
    "rule": "/rules/{}",
    "user": "/users/{}",
    "team": "/teams/{}",
}
_TABLES: dict[str, Table[Any]] = {
    "client": registry.CLIENT, "api": registry.API, "trust": federation.TRUST, "rule": federation.RULE,
    "user": USER, "team": registry.TEAM,
}  # fmt: skip
# Members of a view that no request may set: they follow from others, or cannot come back.
_FIXED = frozenset({"keys", "secrets", "created_at", "jwks_at", "registered_itself"})


class Change(NamedTuple):
    """A change of members, from an audit record."""

    kind: str  # of PATHS
    name: str
    before: dict[str, Any]  # as a request gives them
    after: dict[str, Any]


def find(record: Mapping[str, Any]) -> Change | None:
    """Return the change of this audit record; None if it cannot be undone."""
    kind, _, name = str(record.get("subject") or "").partition(" ")
    before, after = _members(record.get("before")), _members(record.get("after"))
    if record.get("outcome") != "changed" or kind not in PATHS or not before or _FIXED & {*before, *after}:
        return None
    rows = _TABLES[kind].rows
    restored = {one: none_of(rows[one]) if value is None and one in rows else value for one, value in before.items()}
    return Change(kind, name, restored, after)


def is_possible(record: Mapping[str, Any]) -> bool:
    """Whether the change of this audit record can be undone: no member is None, which cannot be emptied again."""
    change = find(record)
    return change is not None and None not in change.before.values()


def none_of(row: Member) -> Any:
    """Return the JSON value that takes the value of this member away; None if there is none."""
    if isinstance(row.kind, kinds.Emptied):
        return ""
    return [] if isinstance(row.kind, kinds.Names) else row.kind.none


def _members(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
