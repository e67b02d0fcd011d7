"""The pages that are made from the code, by the names of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reference import admin_api, cli, endpoints, metadata, settings

from affiant.server.published import reference as reasons

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "admin-api": admin_api.build,
    "cli": cli.build,
    "endpoints": endpoints.build,
    "metadata": metadata.build,
    "reasons": reasons.build,
    "settings": settings.build,
}
