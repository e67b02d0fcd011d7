"""What the commands print: text for people, one JSON document for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from affiant.errors import Refused, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


_WARNINGS = "affiant.warnings"


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
