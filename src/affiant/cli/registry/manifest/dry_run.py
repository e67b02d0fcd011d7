"""Ask the server which changes it would refuse, before making the first one."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from affiant.cli.arguments import as_typed
from affiant.cli.connection.admin import Admin
from affiant.errors import ConfigError, Refused
from affiant.errors.reasons import Reason
from affiant.server.admin.roles import Role
from affiant.system.text import printable

MOST_BYTES, _MOST = 48 << 10, 1000  # changes of one request: the admin API reads 64 KiB
_BY_DETAIL = frozenset({"admin.invalid", "admin.exists", "admin.not_found"})


async def check(api: Admin, changes: Sequence[Mapping[str, Any]], *, first: Collection[tuple[str, str]] = ()) -> Role:
    """Return the role that these changes need; raise if the server would refuse one of them.

    `first` has kind and name of those that are judged before all others.
    """
    refused, needs = await judge(api, sorted(changes, key=lambda one: (one["kind"], one["name"]) not in first))
    if refused:
        error = ConfigError(f"nothing was changed: the server would refuse {len(refused)} of {len(changes)} changes")
        for one in refused:
            error.add_note(printable(f"{one['action']} {one['kind']} {one['name']}: {why(one)}"))
        raise error
    return needs


async def judge(api: Admin, changes: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Role]:
    """Return the refusals of these changes, and the role that they need."""
    refused: list[Mapping[str, Any]] = []
    needs = Role.VIEWER
    for part in _parts(changes):
        judged = await api.post("/dry-run", {"changes": part})
        refused += [one for one in judged["refused"] if one not in refused]
        needs = Role(judged["needs"]) if Role(judged["needs"]).includes(needs) else needs
    return refused, needs


async def check_role(api: Admin, needs: Role) -> None:
    """Raise Refused if the role of the caller is too low for these changes."""
    role = Role((await api.post("/dry-run", {"changes": []}))["role"])
    if not role.includes(needs):
        row = Reason.SCOPE_INSUFFICIENT.value
        raise Refused(row.code, description=f"{row.sentence} (this needs {needs.value}, not {role.value})", status=403)


def why(refused: Mapping[str, Any]) -> str:
    """Return why a change would be refused."""
    detail = as_typed(refused["detail"])
    return detail if refused["reason"] in _BY_DETAIL else f"{refused['title']} ({detail})"


def _parts(changes: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the changes of each request, each with the changes that it needs, even those of an earlier request."""
    sizes = {_named(change): len(json.dumps(change)) for change in changes}
    needed = _needed(changes)
    part: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for change in changes:
        wanted = {_named(one): one for one in (*needed.get(_named(change), ()), change)}
        joined = part | wanted
        if part and (sum(map(sizes.__getitem__, joined)) > MOST_BYTES or len(joined) > _MOST):
            yield list(part.values())
            joined = wanted
        part = joined
    if part:
        yield list(part.values())


def _needed(changes: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """Return, by change, those without which it would be refused.

    A new rule needs its trust and its client, and what names a team that team. A trust is removed after its rules, and
    a team after what it owns.
    """
    known = {_named(change): change for change in changes}
    needed: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for change in changes:
        members = change.get("members", {})
        if _named(change)[:2] == ("create", "rule"):
            of = [("create", "trust", members.get("trust")), ("create", "client", members.get("client_id"))]
            needed[_named(change)] = [known[one] for one in of if one in known]
        elif change["action"] != "remove":
            team = known.get(("create", "team", members.get("team")))
            needed[_named(change)] = [team] if team is not None else []
        elif "team" in members:
            needed.setdefault(("remove", "team", members["team"]), []).append(change)
        elif _named(change)[:2] == ("remove", "rule"):
            needed.setdefault(("remove", "trust", members.get("trust")), []).append(change)
    return needed


def _named(change: Mapping[str, Any]) -> tuple[str, ...]:
    return change["action"], change["kind"], change["name"]
