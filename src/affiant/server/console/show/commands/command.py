"""A command: the operation that it calls, and its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from affiant.server.registry.federation.fields import ConditionsMember, option_values
from affiant.server.registry.fields import Member, Table
from affiant.server.registry.kinds import Flag, Number

Body = dict[str, Any]
Names = Mapping[str, str]
STDIN = "/dev/stdin"  # the file of an option whose value is too long for a word


class Command(NamedTuple):
    """The command of an operation.

    `words` returns its words, from the names in the path, and the members of body and query. `given` returns the
    document that it reads from standard input, if it does.
    """

    method: str
    path: str
    words: Callable[[Names, Body], list[str]]
    given: Callable[[Body], Any] = lambda _: None


def options(table: Table[Any], members: Mapping[str, Any]) -> list[str]:
    """Return the options that give these members."""
    words: list[str] = []
    for name, value in members.items():
        row = table.rows.get(name)
        if row is not None and row.option is not None:
            words += _option(row, value)
    return words


def named(*names: str) -> list[str]:
    """Return the arguments of a command, its last words: a name may begin as an option does."""
    return ["--", *names] if any(name.startswith("-") for name in names) else [*names]


def _option(row: Member, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if isinstance(row, ConditionsMember):
        values = option_values(value)
    return [word for one in (values or [""]) for word in (str(row.option), _text(row, one))]


def _text(row: Member, value: Any) -> str:
    if isinstance(row.kind, Flag):
        return row.words[bool(value)]
    if isinstance(row.kind, Number) and not value:
        return row.kind.word
    return str(value)
