"""What the commands print: text for people, one JSON document for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from affiant.errors import Refused, RemoteError
from affiant.system.text import printable

if TYPE_CHECKING:
    from affiant.jose.key_set import LeftOut

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="print one JSON document")


class Answered(RemoteError):
    """An API refused the call.

    Attributes:
        details: what a JSON document tells besides the message.
    """

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True)
class Listing:
    """How a command prints a list.

    Attributes:
        columns: their headings on a terminal.
        cells: what the columns have of one item.
        line: one item for a pipe. Scripts read it: it changes for no column.
        nothing: what is printed for an empty list.
    """

    columns: tuple[str, ...]
    cells: Callable[[Any], Sequence[object]]
    line: Callable[[Any], str]
    nothing: str


_WARNINGS = "affiant.warnings"
_GAP = "  "
_STYLES = {  # by heading: a client may have the name of a state
    "STATE": {
        **dict.fromkeys(("enabled", "active"), "green"),
        **dict.fromkeys(("announced", "retiring"), "yellow"),
        **dict.fromkeys(("disabled", "removed", "revoked"), "red"),
    },
    "OUTCOME": {"issued": "green", "refused": "red"},
}
_PHRASES = {"created_at": "since", "expires_at": "until"}  # in the line of a key or a secret
_PARTS = ("kid", "kty", "crv", "alg", "state", "id", *_PHRASES)


def warn(text: str) -> None:
    """Print a warning to standard error now, and with the result where that is JSON."""
    click.echo(f"warning: {text}", err=True)
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta.setdefault(_WARNINGS, []).append(text)


def warn_left_out(where: object, left_out: Iterable[LeftOut]) -> None:
    """Name the members of a JWK Set that are not registered."""
    for member in left_out:
        warn(f"{where}: left out: {member}")


def show(data: Any, text: str, *, as_json: bool) -> None:
    """Print the result."""
    if not as_json:
        click.echo(text)
        return
    context = click.get_current_context(silent=True)
    warnings = context.meta.get(_WARNINGS, []) if context is not None else []
    click.echo(json.dumps({"ok": True, "data": data, **({"warnings": warnings} if warnings else {})}))


def show_list(found: list[Any], listing: Listing, *, as_json: bool) -> None:
    """Print a list: a table on a terminal, a line for each item in a pipe."""
    if as_json or not found or not sys.stdout.isatty():
        lines = [printable(listing.line(item)) for item in found]
        show(found, "\n".join(lines) or listing.nothing, as_json=as_json)
        return
    rows = [[printable(str(cell)) for cell in listing.cells(item)] for item in found]
    columns = [(head, *cells) for head, *cells in zip(listing.columns, *rows, strict=True) if any(cells)]
    _print_table(columns)


def _print_table(columns: list[tuple[str, ...]]) -> None:
    """Print the columns, none cut or folded: an id is copied from here."""
    from rich.cells import cell_len, set_cell_size  # a pipe does not wait for it
    from rich.console import Console
    from rich.text import Text

    widths = [max(map(cell_len, column)) for column in columns]
    console = Console(color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)
    for number, row in enumerate(zip(*columns, strict=True)):
        line = Text(_GAP).join(
            Text(set_cell_size(cell, width), "bold" if number == 0 else _style(column[0], cell))
            for column, cell, width in zip(columns, row, widths, strict=True)
        )
        line.rstrip()
        console.print(line, soft_wrap=True)


def _style(heading: str, cell: str) -> str:
    return _STYLES.get(heading, {}).get(cell, "")


def render_members(found: Mapping[str, Any]) -> str:
    """One thing for people: each member that has a value on a line, each of its keys on one too."""
    width = max(map(len, found), default=0) + 1
    lines = []
    for name, value in found.items():
        values = value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
        texts = [text for text in (_member(name, one) for one in values) if text]
        lines += [f"{'' if number else printable(name):<{width}}{text}" for number, text in enumerate(texts)]
    return "\n".join(lines)


def _member(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = {part: _member(part, value.get(part)) for part in _PARTS}
        return " ".join(
            f"{_PHRASES[part]} {text}" if part in _PHRASES else text for part, text in parts.items() if text
        )
    if isinstance(value, list):
        return ", ".join(printable(str(one)) for one in value)
    return instant(value) if name.endswith("_at") else printable(str(value))


def instant(at: object) -> str:
    """An instant, in seconds since 1970, for people."""
    try:
        return f"{datetime.fromtimestamp(float(str(at)), UTC):%Y-%m-%d %H:%M:%S UTC}"
    except (ValueError, OverflowError, OSError):
        return "at a time that makes no sense"


def show_error(message: str, code: int, error: Exception | None) -> None:
    """Print a failure as a JSON document."""
    members: dict[str, Any] = {"message": message, "exit_code": code}
    if isinstance(error, Refused):
        members |= {"code": error.error, "trace_id": error.trace_id, "docs": error.error_uri}
    if isinstance(error, Answered):
        members |= error.details
    if notes := getattr(error, "__notes__", None):
        members["notes"] = notes
    click.echo(json.dumps({"ok": False, "error": members}))
