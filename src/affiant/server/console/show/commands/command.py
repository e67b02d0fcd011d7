"""A command: the operation that it calls, and its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from affiant.server.registry.federation.fields import ConditionsMember, option_values
from affiant.server.registry.fields import Member, Table

Body = dict[str, Any]
Names = Mapping[str, str]


class Command(NamedTuple):
    """The command of an operation; `words` returns its words, from the names in the path, the body and the query."""

    method: str
    path: str
    words: Callable[[Names, Body], list[str]]


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
    if isinstance(row, ConditionsMember):
        return [word for text in option_values(value) for word in (option, text)]
    if "/" in option or value is None:
        return [option.partition("/")[0 if value else 2]]
    values = value if isinstance(value, list) else [value]
    texts = [("yes" if one else "no") if isinstance(one, bool) else str(one) for one in values]
    return [word for text in (texts or [""]) for word in (option, text)]
