"""`python -m reference.website stage` copies the pages for the build; `... check FOLDER` checks what was built."""

from __future__ import annotations

import sys
from pathlib import Path

from reference.website import links, nav, stage


def check(site: Path) -> None:
    """Exit with what is wrong, if anything is."""
    listed = set(nav.pages())
    staged = {path.relative_to(stage.STAGED) for path in stage.STAGED.rglob("*.md")} - {Path("README.md")}
    found = [f"{page}: not in docs/README.md" for page in sorted(staged - listed)]
    found += [f"{page}: in docs/README.md, and no page" for page in sorted(listed - staged)]
    if nav.CONFIG.read_text("utf-8") != nav.build():
        found.append("mkdocs.yml: run python -m reference")
    found += links.problems(site)
    if found:
        raise SystemExit("\n".join(found))


match sys.argv[1:]:
    case ["stage"]:
        stage.stage()
    case ["check", folder]:
        check(Path(folder).resolve())
    case _:
        raise SystemExit(__doc__)
