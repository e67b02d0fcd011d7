"""`python -m reference` makes what is made from the code: pages of docs/, and examples of the console.

With names, it prints those pages.
"""

from __future__ import annotations

import sys

from reference import matrix, public_names, sbom, snippets
from reference.pages import FOLDER, MANUAL, PAGES
from reference.website import nav

from affiant.cli.shell import man


def main(names: list[str]) -> None:
    """Make the pages, or print those that are named."""
    for name in names:
        sys.stdout.write(PAGES[name]())
    if not names:
        for name, build in PAGES.items():
            (FOLDER / f"{name}.md").write_text(build(), "utf-8")
        man.write(MANUAL)
        matrix.write()
        snippets.FILE.write_text(snippets.build(), "utf-8")
        nav.CONFIG.write_text(nav.build(), "utf-8")
        sbom.FILE.write_text(sbom.build(), "utf-8")
        public_names.FILE.write_text(public_names.build(), "utf-8")


main(sys.argv[1:])
