"""The pages of docs/ that are made from the code, by the names of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reference import (
    admin_api,
    architecture,
    cli,
    conformance,
    endpoints,
    metadata,
    metrics,
    presets,
    python_api,
    reasons,
    settings,
)

FOLDER = Path(__file__).resolve().parent.parent / "docs"
MANUAL = FOLDER / "man"  # the manual pages, which the wheel takes from here
PAGES: dict[str, Callable[[], str]] = {
    "explanation/architecture": architecture.build,
    "conformance": conformance.build,
    "reference/admin-api": admin_api.build,
    "reference/cli": cli.build,
    "reference/endpoints": endpoints.build,
    "reference/metadata": metadata.build,
    "reference/metrics": metrics.build,
    "reference/presets": presets.build,
    "reference/python": python_api.build,
    "reference/reasons": reasons.build,
    "reference/settings": settings.build,
}
