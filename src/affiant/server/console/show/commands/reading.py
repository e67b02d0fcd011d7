"""A command that changes something, as the request to the admin API that it sends."""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

from affiant.server.console.api import Ask, at
from affiant.server.registry import fields
from affiant.server.registry.federation import fields as of_federation
from affiant.server.registry.fields import Member, Table
from affiant.server.registry.kinds import Choice, Flag, Names, Number, Text


class _Noun(NamedTuple):
    path: str
    table: Table[Any]


# An API is named by its identifier in the admin API, and by its name in commands: see `read`.
_NOUNS = {
    "client": _Noun("/clients/{}", fields.CLIENT),
    "api": _Noun("/apis/{}", fields.API),
    "trust": _Noun("/trusts/{}", of_federation.TRUST),
    "rule": _Noun("/rules/{}", of_federation.RULE),
}
_STATES = {"enable": True, "disable": False}
_FLAGS = {"true": True, "false": False, "required": True, "optional": False}
_MOST_DIGITS = 16  # as in the forms
_SHORTEST = 4  # words: affiant NOUN VERB NAME


def read(line: str) -> Ask | None:
    """Return the request of `affiant NOUN update|enable|disable NAME ...`; None for any other line.

    The name of an API is left as the command has it.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if len(words) < _SHORTEST or words[0] != "affiant" or words[1] not in _NOUNS:
        return None
    noun, verb, name, rest = _NOUNS[words[1]], words[2], words[3], words[4:]
    if verb in _STATES and not rest:
        return Ask("PATCH", at(noun.path, name), {"enabled": _STATES[verb]})
    body = _members(noun.table, rest) if verb == "update" else None
    return Ask("PATCH", at(noun.path, name), body) if body else None


def _members(table: Table[Any], words: list[str]) -> dict[str, Any] | None:
    """Return the members that these options give; None if one of them is not read here."""
    rows = {row.option: row for row in table.by(fields.By.CHANGE) if row.option is not None}
    found: dict[str, Any] = {}
    if len(words) % 2:
        return None
    for option, text in zip(words[::2], words[1::2], strict=True):
        row = rows.get(option)
        if row is None or not _put(found, row, text):
            return None
    return found


def _put(found: dict[str, Any], row: Member, text: str) -> bool:
    match row.kind:
        case Names():
            found.setdefault(row.name, []).append(text)
        case Number() if text.isascii() and text.isdecimal() and len(text) < _MOST_DIGITS:
            found[row.name] = int(text)
        case Flag() if text in _FLAGS:
            found[row.name] = _FLAGS[text]
        case Choice() | Text():
            found[row.name] = text
        case _:
            return False
    return True
