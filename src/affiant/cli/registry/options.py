"""Options for the members of a client or an API, made from the rows of server/registry/fields.py."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from affiant.cli.arguments import nearest
from affiant.cli.connection.admin import Admin
from affiant.cli.output import warn
from affiant.errors import Error
from affiant.server.registry.fields import Member
from affiant.server.registry.kinds import Choice, Flag, Kind, Names, Seconds

# A server elsewhere may know other values than this version.
_JUDGED_BY_SERVER = ("grant_types", "token_endpoint_auth_signing_alg")


class _Binding(click.Choice[str]):
    """``required`` or ``optional``, for true or false."""

    def __init__(self) -> None:
        super().__init__(("optional", "required"))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(value, param, ctx) == "required"


class _Lifetime(click.ParamType[int]):
    """Seconds, or ``default`` for the setting of the server."""

    name = "seconds"

    def __init__(self, kind: Seconds) -> None:
        self._range = click.IntRange(kind.least, kind.most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return 0 if value == "default" else self._range.convert(value, param, ctx)


def member_options(rows: Iterable[Member]) -> Callable[[Any], Any]:
    """Add the option of each row; the command gets its value by the name of the member."""

    def add(command: Any) -> Any:
        for row in reversed([row for row in rows if row.option is not None]):
            is_list = isinstance(row.kind, Names)
            command = click.option(
                str(row.option),
                row.name,
                type=None if row.name in _JUDGED_BY_SERVER else _type(row.kind),
                multiple=is_list,
                metavar=row.metavar,
                help=f"{row.meaning}; may repeat" if is_list else row.meaning.replace("0 for the", "default for the"),
            )(command)
        return command

    return add


def members(rows: Iterable[Member], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that the options give, as JSON values."""
    given = {row.name: options[row.name] for row in rows if row.option is not None}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if value is not None and value != ()
    }


async def check_scopes(api: Admin, scopes: Sequence[str]) -> None:
    """Warn of scopes that no API has: an API may get them later, but mostly they are misspelt."""
    if not scopes:
        return
    with contextlib.suppress(Error):
        known = [scope for found in await api.all("/apis") for scope in found["scopes"]]
        for scope in (scope for scope in scopes if scope not in known):
            close = nearest(scope, known)
            warn(f"no API has the scope {scope}: " + (f"is {close} meant?" if close else "see  affiant api list"))


def _type(kind: Kind) -> click.ParamType[Any] | None:
    match kind:
        case Names():
            return _type(kind.item)
        case Choice():
            return click.Choice(kind.words)
        case Flag():
            return _Binding()
        case Seconds():
            return _Lifetime(kind)
        case _:
            return None
