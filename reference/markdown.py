"""Markdown, as far as the pages need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from affiant.server.request.description import Member

MEMBERS = ("member", "meaning", "when", "source")


def head(title: str, text: str, *, change: str) -> str:
    """The beginning of a page.

    Args:
        title: of the page.
        text: that follows it.
        change: which files to change instead of the page.
    """
    return f"<!-- Made by `python -m reference`; a test compares. Change {change}. -->\n\n# {title}\n\n{text}\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or nothing where there is no row; with an empty line before it."""
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |\n" for row in rows]
    if not lines:
        return ""
    return f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n{''.join(lines)}"


def members(rows: Iterable[Member]) -> str:
    """The table of these members."""
    return table(MEMBERS, ((code(row.name), row.meaning, row.when, row.source) for row in rows))


def code(text: str) -> str:
    """The text as code; an ellipsis stands for itself."""
    return "..." if text == "..." else f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
