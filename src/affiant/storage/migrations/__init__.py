"""Numbered .sql files, a folder for each engine."""

from __future__ import annotations

from importlib import resources


def files(engine: str) -> list[tuple[str, str]]:
    """Name and text of each file of this engine, in their order."""
    folder = resources.files(f"{__name__}.{engine}")
    return sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql"))
