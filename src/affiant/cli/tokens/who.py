"""The options that say who asks, and for what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

credentials_option: Callable[[Any], Any] = click.option(
    "-c",
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),  # what cannot be read is told by who reads it
    help="credentials file (default: AFFIANT_CREDENTIALS)",
)
scope_option: Callable[[Any], Any] = click.option("--scope", help="scopes to ask for, separated by spaces")
resource_option: Callable[[Any], Any] = click.option("--resource", metavar="URL", help="the API to ask for")
