"""Load the settings; report each mistake as one sentence with the setting, its source, and what to write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from affiant.errors import ConfigError
from affiant.server.settings import sources
from affiant.server.settings.fields import Settings

_SHORT = 20  # characters of a wrong value that a message repeats: a misplaced secret is longer


def load(**options: object) -> Settings:
    """Return the settings; an option that is None counts as not given."""
    given = {name: value for name, value in options.items() if value is not None}
    mistakes = list(sources.misspelt(Settings.model_fields))
    found: Settings | None = None
    try:
        # Options before the environment before the file.
        environment = sources.read_renamed() | sources.read_variables(Settings.model_fields)
        found = Settings.model_validate(sources.read_file() | environment | given)
    except ValidationError as error:
        where = _places(given)
        mistakes += [_mistake(detail, where) for detail in error.errors()]
    if mistakes or found is None:
        raise ConfigError("; ".join(mistakes))
    return found


def _places(given: Collection[str]) -> dict[str, str]:
    """Return the name of each given setting at its source."""
    return {
        **{name: f"{name} in {sources.FILE}" for name in sources.read_file()},
        **_variables(),
        **{name: f"--{name.replace('_', '-')}" for name in given},
    }


def _variables() -> dict[str, str]:
    """Return the variable of each setting in the environment, also under a former name."""
    former = {sources.RENAMED[old]: variable for old, variable in sources.variables(sources.RENAMED).items()}
    return {**former, **sources.variables(Settings.model_fields)}


def _mistake(detail: ErrorDetails, where: dict[str, str]) -> str:
    if not detail["loc"]:  # about several settings; its sentence names them
        return detail["msg"].removeprefix("Value error, ")
    name, *inside = map(str, detail["loc"])
    if detail["type"] == "extra_forbidden":
        return sources.stranger(name, Settings.model_fields)
    place = where.get(name, name) + "".join(f", {part}" for part in inside)
    if detail["type"] == "value_error":
        return f"{place}: {detail['msg'].removeprefix('Value error, ')}"
    field = Settings.model_fields[name]
    return f"{place}: write {_wanted(field)}{_instead_of(detail['input'], field)}"


def _instead_of(value: object, field: FieldInfo) -> str:
    shown = str(value)
    is_safe = field.repr and isinstance(value, str | int | float) and len(shown) <= _SHORT
    return f", not {shown!r}" if is_safe else ""


def _wanted(field: FieldInfo) -> str:
    """Return what to write, from the declaration of the setting."""
    if get_origin(field.annotation) is Literal:
        return " or ".join(map(str, get_args(field.annotation)))
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    kind: Any = field.annotation if get_origin(field.annotation) is dict or not kinds else kinds[0]
    limits = {
        name: getattr(rule, name)
        for rule in field.metadata
        for name in ("ge", "le", "min_length", "max_length")
        if getattr(rule, name, None) is not None
    }
    return _KINDS.get(kind, "a table").format(range=_range(limits))


_KINDS: dict[Any, str] = {str: "text{range}", Path: "a path", int: "a whole number{range}", float: "a number{range}"}


def _range(limits: Mapping[str, float]) -> str:
    if "max_length" in limits:
        return f" of {limits.get('min_length', 0)} to {limits['max_length']} characters"
    if "ge" not in limits:
        return ""
    return f" from {limits['ge']} to {limits['le']}" if "le" in limits else f" of at least {limits['ge']}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting, for `affiant settings` and the admin API.

    Attributes:
        source: ``option``, ``environment``, ``file``, ``remembered`` (in the database) or ``default``.
    """

    name: str
    value: str | int | float | bool | None
    source: str
    description: str


def described(chosen: Settings, *, options: Collection[str], issuer: str | None) -> tuple[Setting, ...]:
    """Return every setting with its source; for one that may contain a secret, only that it is set."""
    given = (("option", options), ("environment", _variables()), ("file", sources.read_file()))
    rows = tuple(
        Setting(
            name,
            _shown(getattr(chosen, name), is_secret=not field.repr),
            next((source for source, names in given if name in names), "default"),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    )
    if chosen.issuer is not None or issuer is None:
        return rows
    return tuple(replace(row, value=issuer, source="remembered") if row.name == "issuer" else row for row in rows)


def _shown(value: object, *, is_secret: bool) -> str | int | float | bool | None:
    if value is None or (isinstance(value, bool | int | float | str) and not is_secret):
        return value
    return "(set)" if is_secret else str(value)
