"""Print results: text for people, one JSON document for scripts.

No text that is printed here can command a terminal: control characters are escaped.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from affiant.errors import Refused, RemoteError
from affiant.system import text
from affiant.system.text import printable

_JSON = "affiant.json"
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
_SOURCES = {"operator": "by the operator", "registration": "at registration", "client": "by the client"}
_LONGEST_MEMBER = 300  # characters of a member that a server sent


class Answered(RemoteError):
    """An API refused the call; a JSON document has these details besides the message."""

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True)
class Listing:
    """How a command prints a list."""

    columns: tuple[str, ...]
    cells: Callable[[Any], Sequence[object]]
    line: Callable[[Any], str]  # one item for a pipe; scripts parse it, so it gains no columns
    empty: str  # printed for an empty list


def json_option(meaning: str = "print one JSON document") -> Callable[[Any], Any]:
    """--json, which `show` and the like obey."""

    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        context.meta[_JSON] = value

    return click.option("--json", is_flag=True, expose_value=False, callback=keep, help=meaning)


def is_json() -> bool:
    """Whether the running command was given --json."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_JSON))


def show(data: Any, *lines: str) -> None:
    """Print the result of the command."""
    if not is_json():
        click.echo("\n".join(map(printable, lines)))
        return
    warnings = click.get_current_context().meta.get(_WARNINGS)
    print_json({"ok": True, "data": data, **({"warnings": warnings} if warnings else {})})


def show_list(found: list[Any], listing: Listing) -> None:
    """Print a list: a table on a terminal, a line for each item in a pipe."""
    if is_json() or not found or not sys.stdout.isatty():
        show(found, *(map(listing.line, found) if found else [listing.empty]))
        return
    rows = [[printable(str(cell)) for cell in listing.cells(item)] for item in found]
    columns = [(head, *cells) for head, *cells in zip(listing.columns, *rows, strict=True) if any(cells)]
    _print_table(columns)


def _print_table(columns: list[tuple[str, ...]]) -> None:
    """Print the columns, none cut or folded: users copy ids from here."""
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


def describe(found: Mapping[str, Any]) -> list[str]:
    """Return one thing as lines: each member that has a value, each of its keys on a line of its own."""
    width = max(map(len, found), default=0) + 1
    lines = []
    for name, value in found.items():
        values = value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
        said = [words for words in (_member(name, one) for one in values) if words]
        lines += [f"{'' if number else name:<{width}}{words}" for number, words in enumerate(said)]
    return lines


def _member(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = {part: _member(part, value.get(part)) for part in _PARTS}
        return " ".join(
            f"{_PHRASES[part]} {words}" if part in _PHRASES else words for part, words in parts.items() if words
        )
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return instant(value) if name.endswith("_at") else str(value)


def describe_jwt(header: dict[str, Any], claims: dict[str, Any]) -> list[str]:
    """Return a line for the header and each claim, with instants in words."""
    lines = [f"header     {json.dumps(header, ensure_ascii=True)}"]
    for name, value in claims.items():
        lines.append(f"{name:<10} {json.dumps(value, ensure_ascii=True)}{_when(name, value)}")
    return lines


def _when(name: str, value: object) -> str:
    if name not in ("exp", "iat", "nbf") or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    seconds = int(value - time.time())
    return f"   ({abs(seconds)} s {'ago' if seconds < 0 else 'from now'})"


def key_line(known: dict[str, Any]) -> str:
    kid, state, alg, source, last, uses, end, thumbprint = _key_cells(known)
    used = "never used" if last == "never" else f"used {uses} times, last {last}"
    parts = (kid, f"thumbprint {thumbprint}" if thumbprint else "", alg, state, source, used)
    if end:
        end = f"{'can go' if known['safe_to_complete'] else 'not yet'}: {known.get('why')}"
    return "  ".join(printable(part, _LONGEST_MEMBER) for part in (*parts, end) if part)


def _key_cells(known: dict[str, Any]) -> tuple[str, ...]:
    used, kid, thumbprint = known.get("last_used_at"), known["kid"], known.get("thumbprint")
    end = ""
    if "safe_to_complete" in known:
        end = f"{'yes' if known['safe_to_complete'] else 'not yet'}: {known.get('why')}"
    return (
        str(kid),
        str(known.get("state") or "-"),
        str(known.get("alg") or "-"),
        _SOURCES.get(str(known.get("source")), ""),
        instant(used) if used else "never",
        str(known.get("use_count") or ""),
        end,
        str(thumbprint) if thumbprint not in (None, kid) else "",
    )


def key_listing(empty: str) -> Listing:
    """How the keys of a client are listed."""
    columns = ("KEY", "STATE", "ALG", "REGISTERED", "LAST USED", "USES", "CAN GO", "THUMBPRINT")
    return Listing(columns, _key_cells, key_line, empty)


def instant(at: object) -> str:
    """Return an instant, in seconds since 1970, as a date and time; a server may have sent anything else."""
    return text.instant(at if isinstance(at, int | float) and not isinstance(at, bool) else math.nan)


def note(remark: str) -> None:
    """Print a remark to standard error."""
    click.echo(f"! {printable(remark)}", err=True)


def warn(remark: str) -> None:
    """Print a warning to standard error now, and with the result where that is JSON."""
    click.echo(f"warning: {printable(remark)}", err=True)
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta.setdefault(_WARNINGS, []).append(remark)


def warn_left_out(where: object, left_out: Iterable[object]) -> None:
    """Name the members of a JWK Set that are not registered."""
    for member in left_out:
        warn(f"{where}: left out: {member}")


def print_json(members: Mapping[str, Any]) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(members))


def show_error(message: str, code: int, error: Exception | None) -> None:
    """Print a failure as a JSON document."""
    members: dict[str, Any] = {"message": message, "exit_code": code}
    if isinstance(error, Refused):
        members |= {"code": error.error, "trace_id": error.trace_id, "docs": error.error_uri}
    if isinstance(error, Answered):
        members |= error.details
    if notes := getattr(error, "__notes__", None):
        members["notes"] = notes
    print_json({"ok": False, "error": members})
