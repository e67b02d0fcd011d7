"""A request to the admin API as the command that does the same, and as the call of a program."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from affiant.server.admin.roles import identifier
from affiant.server.admin.routes.operation import compile_path
from affiant.server.console.api import Ask
from affiant.server.registry import fields
from affiant.server.registry.fields import Member, Table


class _Command(NamedTuple):
    """The command of an operation; `words` returns its words, from the names in the path and the body."""

    method: str
    path: str
    words: Callable[[Mapping[str, str], dict[str, Any]], list[str]]


def command(ask: Ask) -> str | None:
    """Return the `affiant` command that sends this request; None if there is none."""
    for one in COMMANDS:
        found = compile_path(one.path).fullmatch(ask.path) if one.method == ask.method else None
        if found is not None:
            names = {name: unquote(text) for name, text in found.groupdict().items()}
            return shlex.join(["affiant", *one.words(names, dict(ask.body or {}))])
    return None


def curl(ask: Ask, issuer: str) -> str:
    """Return the curl line that sends this request, with a token of the caller's."""
    api = identifier(issuer)
    words = [f"curl -X {ask.method} {shlex.quote(api + ask.path)}"]
    words.append(f'-H "Authorization: Bearer $(affiant token --resource {shlex.quote(api)})"')
    if ask.if_match is not None:
        words.append(f"-H {shlex.quote(f'If-Match: {ask.if_match}')}")
    if ask.body is not None:
        words.append(f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(ask.body))}")
    return " \\\n  ".join(words)


def options(table: Table[Any], members: Mapping[str, Any]) -> list[str]:
    """Return the options that give these members."""
    words: list[str] = []
    for name, value in members.items():
        row = table.rows.get(name)
        if row is not None and row.option is not None:
            words += _option(row, value)
    return words


def _option(row: Member, value: Any) -> list[str]:
    option = str(row.option)
    if "/" in option or value is None:
        return [option.partition("/")[0 if value else 2]]
    values = value if isinstance(value, list) else [value]
    texts = [("yes" if one else "no") if isinstance(one, bool) else str(one) for one in values]
    return [word for text in (texts or [""]) for word in (option, text)]


def _change_client(names: Mapping[str, str], body: dict[str, Any]) -> list[str]:
    if set(body) == {"enabled"}:
        return ["client", "enable" if body["enabled"] else "disable", names["client_id"]]
    return ["client", "update", names["client_id"], *options(fields.CLIENT, body)]


COMMANDS: tuple[_Command, ...] = (_Command("PATCH", "/clients/{client_id}", _change_client),)
