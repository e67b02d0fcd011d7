"""The members of a registration as fields of a form, from the rows of its table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from affiant.errors import ConfigError
from affiant.server.console.show.records.undoing import none_of
from affiant.server.console.view import Form
from affiant.server.registry import kinds
from affiant.server.registry.federation.fields import ConditionsMember, option_values
from affiant.server.registry.fields import Member

_YES, _NO = "yes", "no"


class Field(NamedTuple):
    """One field: `kind` is select, boxes, number, lines or text; of boxes, `value` has those that are ticked."""

    name: str
    meaning: str
    kind: str
    value: str
    choices: tuple[str, ...] = ()


def fields(rows: Iterable[Member], document: Mapping[str, Any] | None = None, typed: Form | None = None) -> list[Field]:
    """Return the fields for these members, with the values of this document, or what was typed in this form."""
    found = [_field(row, (document or {}).get(row.name)) for row in rows]
    return [one._replace(value=_typed_again(typed, one)) for one in found] if typed is not None else found


def read(form: Form, rows: Iterable[Member], document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the members of the form, as JSON values; those that are as in the document are left out.

    For a new record the empty ones are left out. Raises ConfigError for a text that is no value of its member.
    """
    found = {row.name: _read(form, row) for row in rows if form.has(row.name)}
    if document is not None:
        if emptied := [name for name, value in found.items() if value is None and document.get(name) is not None]:
            raise ConfigError(f"{emptied[0]} cannot be emptied")
        now = {row.name: _shown(row, document.get(row.name)) for row in rows}
        return {name: value for name, value in found.items() if value != now[name]}
    return {name: value for name, value in found.items() if value not in ("", [], {}, 0, None)}


def _typed_again(form: Form, field: Field) -> str:
    return "\n".join(form.words(field.name)) if field.kind == "boxes" else form.text(field.name)


def _shown(row: Member, value: Any) -> Any:
    """Return the JSON value that a request would give for this one of a document."""
    return none_of(row) if value is None else value


def _field(row: Member, value: Any) -> Field:
    kind, choices = _kind(row)
    given = _shown(row, value)
    if isinstance(row, ConditionsMember):
        text = "\n".join(option_values(given or {}))
    elif isinstance(given, bool):
        text = _YES if given else _NO
    elif isinstance(given, list):
        text = "\n".join(given)
    else:
        text = "" if given is None else given if isinstance(given, str) else json.dumps(given)
    return Field(row.name, row.meaning, kind, text, choices)


def _kind(row: Member) -> tuple[str, tuple[str, ...]]:
    if isinstance(row.kind, kinds.Choice):
        return "select", row.kind.words
    if isinstance(row.kind, kinds.Flag):
        return "select", (_YES, _NO)
    if isinstance(row.kind, kinds.Names) and isinstance(row.kind.item, kinds.Choice):
        return "boxes", row.kind.item.words
    if isinstance(row.kind, kinds.Number):
        return "number", ()
    is_long = isinstance(row.kind, kinds.Names | kinds.JwkSet) or isinstance(row, ConditionsMember)
    return ("lines" if is_long or row.name == "ca" else "text"), ()


def _read(form: Form, row: Member) -> Any:
    if isinstance(row, ConditionsMember):
        return conditions(form.text(row.name))
    if isinstance(row.kind, kinds.Flag):
        return form.text(row.name) == _YES
    if isinstance(row.kind, kinds.Number):
        return _number(form, row)
    if isinstance(row.kind, kinds.Names):
        return _items(form, row)
    if isinstance(row.kind, kinds.JwkSet):
        return _object(form, row)
    return form.text(row.name) or none_of(row)


def _number(form: Form, row: Member) -> int:
    number = form.number(row.name) if form.text(row.name) else 0
    if number is None:
        raise ConfigError(f"{row.name} must be a whole number")
    return number


def _items(form: Form, row: Member) -> list[str]:
    # An item of VISIBLE characters may have a space in it.
    is_of_lines = isinstance(row.kind, kinds.Names) and row.kind.item is kinds.VISIBLE
    return (
        [one.strip() for one in form.text(row.name).splitlines() if one.strip()]
        if is_of_lines
        else form.words(row.name)
    )


def _object(form: Form, row: Member) -> Any:
    if not form.text(row.name):
        return None
    try:
        return json.loads(form.text(row.name))
    except (ValueError, RecursionError):
        raise ConfigError(f"{row.name} must be JSON") from None


def conditions(text: str) -> dict[str, list[Any]]:
    """Return the conditions of these lines, as --when has them: CLAIM=TEXT or CLAIM:=JSON. Raises ConfigError."""
    found: dict[str, list[Any]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        claim, is_given, value = line.partition("=")
        if not claim or not is_given:
            raise ConfigError(f"{line[:100]} is not a condition: write CLAIM=VALUE, one per line")
        found.setdefault(claim.removesuffix(":"), []).append(_typed(value) if claim.endswith(":") else value)
    return found


def _typed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{text[:100]} is neither true, false nor a whole number") from None
