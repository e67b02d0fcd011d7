"""What the commands print: text for people, one JSON document for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from affiant.errors import Refused, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="print one JSON document")


class Answered(RemoteError):
    """An API refused the call.

    Attributes:
        details: what a JSON document tells besides the message.
    """

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


def show(data: Any, text: str, *, as_json: bool) -> None:
    """Print the result."""
    click.echo(json.dumps({"ok": True, "data": data}) if as_json else text)


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
