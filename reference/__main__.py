"""`python -m reference` makes every page of docs/ that is made from the code; with names, it prints those pages."""

from __future__ import annotations

import sys

from reference.pages import FOLDER, MANUAL, PAGES

from affiant.cli.shell import man


def main(names: list[str]) -> None:
    """Make the pages, or print those that are named."""
    for name in names:
        sys.stdout.write(PAGES[name]())
    if not names:
        for name, build in PAGES.items():
            (FOLDER / f"{name}.md").write_text(build(), "utf-8")
        man.write(MANUAL)


main(sys.argv[1:])
