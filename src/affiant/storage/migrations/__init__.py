"""Numbered .sql files, a folder for each engine.

While nodes are upgraded one after the other, old ones go on with the newer schema. So a file only adds: tables,
indexes, columns that have a default or may be null. What old code still reads or writes is renamed, dropped or
constrained one release later, by a file that raises OLDEST to its own number: from then on older code refuses the
database.
"""

from __future__ import annotations

from importlib import resources

OLDEST = 10  # so many files must code know to use a database that all of these were applied to
OLDEST_KEY = "oldest_schema"  # the setting that keeps the number for older code


def files(engine: str) -> list[tuple[str, str]]:
    """Name and text of each file of this engine, in their order."""
    folder = resources.files(f"{__name__}.{engine}")
    return sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql"))


def may_use(known: int, oldest: str | None) -> bool:
    """Whether code that knows so many files may use a database with more, whose setting this is."""
    return oldest is not None and oldest.isascii() and oldest.isdigit() and known >= int(oldest)
