"""The navigation of the site, made from docs/README.md: one map, in two forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
CONFIG = ROOT / "mkdocs.yml"
_BEGIN = "# nav: made by `python -m reference` from docs/README.md; a test compares.\n"
_HEADING = re.compile(r"^(##+) (.*)$")
_LINK = re.compile(r"\]\(([^)#:]+\.md)[^)]*\)")
# Files of the root that are pages of the site, and where they are there.
PROJECT = {ROOT / f"{name}.md": Path("project", f"{name.lower()}.md") for name in (
    "README", "CHANGELOG", "CONTRIBUTING", "SECURITY")}  # fmt: skip


def place(page: Path) -> Path | None:
    """Return where a file of the repository is in the site; None if it is not in it."""
    if page in PROJECT:
        return PROJECT[page]
    return page.relative_to(DOCS) if page.is_relative_to(DOCS) else None


def build() -> str:
    """Return the text of mkdocs.yml: the settings that it has, and the navigation."""
    settings = CONFIG.read_text("utf-8").partition(_BEGIN)[0]
    return settings + _BEGIN + "nav:\n  - README.md\n" + "".join(_lines())


def pages() -> list[Path]:
    """Return the pages that the index links to, each once, in its order."""
    return [found for _, _, found in _entries() if found is not None]


def _lines() -> Iterator[str]:
    for depth, title, page in _entries():
        yield f"{'    ' * depth}  - {page.as_posix() if page else f'{title}:'}\n"


def _entries() -> Iterator[tuple[int, str, Path | None]]:
    """Yield headings, and the pages below them, each with its depth. A heading without pages is no entry."""
    seen: set[Path] = set()
    waiting: list[tuple[int, str]] = []
    depth = -1
    for line in INDEX.read_text("utf-8").splitlines():
        if (heading := _HEADING.match(line)) is not None:
            depth = len(heading[1]) - 2
            waiting = [*(one for one in waiting if one[0] < depth), (depth, heading[2])]
        for target in _LINK.findall(line):
            found = place((DOCS / target).resolve())
            if found is None or found in seen:
                continue
            seen.add(found)
            yield from ((level, title, None) for level, title in waiting)
            waiting = []
            yield depth + 1, "", found
