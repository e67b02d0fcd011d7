"""`python -m reference` makes every page of docs/reference that is made from the code; with a name, it prints one."""

from __future__ import annotations

import sys

from reference.pages import FOLDER, PAGES


def main(names: list[str]) -> None:
    """Make the pages, or print those that are named."""
    for name in names:
        sys.stdout.write(PAGES[name]())
    if not names:
        for name, build in PAGES.items():
            (FOLDER / f"{name}.md").write_text(build(), "utf-8")


main(sys.argv[1:])
