"""Ask the server which changes it would refuse, before making the first one."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from affiant.cli.arguments import as_typed
from affiant.cli.connection.admin import Admin
from affiant.errors import ConfigError, Refused
from affiant.reasons import Reason
from affiant.server.admin.roles import Role
from affiant.system.text import printable

_MOST_BYTES, _MOST = 48 << 10, 1000  # changes of one request: the admin API reads 64 KiB
_BY_DETAIL = frozenset({"admin.invalid", "admin.exists", "admin.not_found"})


async def check(api: Admin, changes: Sequence[Mapping[str, Any]], *, first: Collection[str] = ()) -> Role:
    """Return the role that these changes need; raise if the server would refuse one of them."""
    refused: list[Mapping[str, Any]] = []
    needs = Role.VIEWER
    for part in _parts(sorted(changes, key=lambda change: change["name"] not in first)):
        judged = await api.post("/dry-run", {"changes": part})
        refused += judged["refused"]
        needs = Role(judged["needs"]) if Role(judged["needs"]).includes(needs) else needs
    if refused:
        error = ConfigError(f"nothing was changed: the server would refuse {len(refused)} of {len(changes)} changes")
        for one in refused:
            error.add_note(printable(f"{one['action']} {one['kind']} {one['name']}: {_why(one)}"))
        raise error
    return needs


async def check_role(api: Admin, needs: Role) -> None:
    """Raise Refused if the role of the caller is too low for these changes."""
    role = Role((await api.post("/dry-run", {"changes": []}))["role"])
    if not role.includes(needs):
        row = Reason.SCOPE_INSUFFICIENT.value
        raise Refused(row.code, description=f"{row.sentence} (this needs {needs.value}, not {role.value})", status=403)


def _why(refused: Mapping[str, Any]) -> str:
    detail = as_typed(refused["detail"])
    return detail if refused["reason"] in _BY_DETAIL else f"{refused['title']} ({detail})"


def _parts(changes: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    part: list[Mapping[str, Any]] = []
    size = 0
    for change in changes:
        length = len(json.dumps(change))
        if part and (size + length > _MOST_BYTES or len(part) == _MOST):
            yield part
            part, size = [], 0
        part.append(change)
        size += length
    if part:
        yield part
