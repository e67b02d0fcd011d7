"""Options for the members of a client or an API, made from the rows of server/registry/fields.py."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import NamedPath, nearest
from affiant.cli.connection.admin import Admin
from affiant.cli.output import warn
from affiant.errors import Error
from affiant.jose.strict_json import parse_object
from affiant.server.registry.fields import Member
from affiant.server.registry.kinds import Choice, Conditions, Flag, JwkSet, Kind, Names, Number

_LONGEST_FILE = 1 << 16  # bytes, as the server takes
# A server elsewhere may know other values than this version.
_JUDGED_BY_SERVER = ("grant_types", "token_endpoint_auth_signing_alg")


class _Flag(click.Choice[str]):
    """Two words, for false and true."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(value, param, ctx) == self.choices[1]


class _Number(click.ParamType[int]):
    """A number, or the word for no value, such as ``default``."""

    name = "number"

    def __init__(self, kind: Number) -> None:
        self._range = click.IntRange(kind.least, kind.most)
        self._word = kind.word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return 0 if value == self._word else self._range.convert(value, param, ctx)


class _Condition(click.ParamType[tuple[str, Any]]):
    """A claim and one of its values, written ``CLAIM=TEXT``, or ``CLAIM:=VALUE`` for true, false and whole numbers."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        claim, equals, text = value.partition("=")
        if not claim.removesuffix(":") or not equals:
            self.fail("write CLAIM=TEXT, or CLAIM:=VALUE for true, false or a whole number", param, ctx)
        if not claim.endswith(":"):
            return claim, text
        try:
            typed = json.loads(text)
        except ValueError:
            typed = None
        if not isinstance(typed, bool | int):
            self.fail("after := comes true, false or a whole number; write CLAIM=TEXT for a text", param, ctx)
        return claim.removesuffix(":"), typed


class _Content(NamedPath):
    """The text of a file."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        try:
            with path.open("rb") as file:
                raw = file.read(_LONGEST_FILE + 1)
            text = raw.decode()
        except (OSError, ValueError) as error:
            self.fail(f"cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}", param, ctx)
        if len(raw) > _LONGEST_FILE:
            self.fail(f"is longer than {_LONGEST_FILE:,} bytes", param, ctx)
        return text


class _Document(_Content):
    """The JSON object in a file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return parse_object(super().convert(value, param, ctx).encode())
        except ValueError as error:
            self.fail(f"is no JSON object: {error}", param, ctx)


CONDITION = _Condition()


def member_options(rows: Iterable[Member]) -> Callable[[Any], Any]:
    """Add the option of each row; the command gets its value by the name of the member."""

    def add(command: Any) -> Any:
        for row in reversed([row for row in rows if row.option is not None]):
            is_list = isinstance(row.kind, Names | Conditions)
            command = click.option(
                str(row.option),
                row.name,
                type=_type_of(row),
                multiple=is_list,
                metavar=row.metavar,
                help=f"{row.meaning}; may repeat" if is_list else _in_words(row),
            )(command)
        return command

    return add


def members(rows: Iterable[Member], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that the options give, as JSON values; an option with nothing in it empties a list."""
    given = [(row, options[row.name]) for row in rows if row.option is not None]
    return {row.name: _value(row, value) for row, value in given if value is not None and value != ()}


def conditions(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return the values by their claims."""
    found: dict[str, list[Any]] = {}
    for claim, value in pairs:
        found.setdefault(claim, []).append(value)
    return found


async def check_scopes(api: Admin, scopes: Sequence[str]) -> None:
    """Warn of scopes that no API has: an API may get them later, but mostly they are misspelt."""
    if not scopes:
        return
    with contextlib.suppress(Error):
        known = [scope for found in await api.all("/apis") for scope in found["scopes"]]
        for scope in (scope for scope in scopes if scope not in known):
            close = nearest(scope, known)
            warn(f"no API has the scope {scope}: " + (f"is {close} meant?" if close else "see  affiant api list"))


def _check_single(kind: Names, text: str, option: str) -> None:
    """Refuse several values in one, as RFC 6749 writes a scope, where each of them would be good alone."""
    words = text.split()
    if len(words) > 1 and not _is_taken(kind, [text]) and _is_taken(kind, words):
        raise click.UsageError(
            f"write {option} once for each value:  " + " ".join(f"{option} {word}" for word in words)
        )


def _is_taken(kind: Names, values: list[str]) -> bool:
    try:
        kind.parse(values)
    except ValueError:
        return False
    return True


def _in_words(row: Member) -> str:
    """Return the meaning of a member with the word that its option has for 0."""
    return row.meaning.replace("; 0 for", f"; {row.kind.word} for") if isinstance(row.kind, Number) else row.meaning


def _value(row: Member, given: Any) -> Any:
    if isinstance(row.kind, Conditions):
        return conditions(given)
    if isinstance(row.kind, Names):
        for text in given:
            _check_single(row.kind, text, str(row.option))
    return [item for item in given if given != ("",)] if isinstance(given, tuple) else given


def _type_of(row: Member) -> click.ParamType[Any] | None:
    if row.name in _JUDGED_BY_SERVER:
        return None
    if row.metavar == "FILE":
        return _Document() if isinstance(row.kind, JwkSet) else _Content()
    if isinstance(row.kind, Flag):
        return _Flag(row.words)
    return _type(row.kind)


def _type(kind: Kind) -> click.ParamType[Any] | None:
    match kind:
        case Names():
            return _type(kind.item)
        case Conditions():
            return CONDITION
        case Choice():
            return click.Choice(kind.words)
        case Number():
            return _Number(kind)
        case _:
            return None
