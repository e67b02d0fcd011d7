"""Copy the pages to the folder from which the site is built, with links that work there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from reference.website.nav import DOCS, PROJECT, ROOT, place

STAGED = ROOT / "build" / "site-pages"
_LEFT_OUT = (".1", ".in", ".lock")  # manual pages, which `affiant man` prints, and what builds the site
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)


def stage() -> None:
    """Make the folder again."""
    shutil.rmtree(STAGED, ignore_errors=True)
    for source in _sources():
        target = STAGED / (place(source) or source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(moved(source), "utf-8")
        else:
            shutil.copyfile(source, target)


def _sources() -> Iterator[Path]:
    yield from PROJECT
    yield from (path for path in DOCS.rglob("*") if path.is_file() and path.suffix not in _LEFT_OUT)


def moved(page: Path) -> str:
    """Return the text of a page with the links of the site. A link to source code becomes its text."""
    parts = _FENCE.split(page.read_text("utf-8"))
    return "".join(
        _code(part) if number % 2 else _LINK.sub(_replacing(page), part) for number, part in enumerate(parts)
    )


def _code(block: str) -> str:
    """Return a block of code; one of commands alone, without prompts, as a script: a site shows them as output."""
    return block if "\n$ " in block else re.sub(r"^( *)```console\n", r"\1```sh\n", block)


def _replacing(page: Path) -> Callable[[re.Match[str]], str]:
    here = place(page) or page

    def replace(found: re.Match[str]) -> str:
        image, text, target, fragment = found.groups()
        if not target or ":" in target:
            return found[0]
        path = (page.parent / target).resolve()
        if not path.exists():
            raise SystemExit(f"{page.relative_to(ROOT)}: {target} does not exist")
        if path.is_dir():
            path = path / "README.md"
        there = place(path)
        if there is None:
            return text
        return f"{image}[{text}]({Path(os.path.relpath(there, here.parent)).as_posix()}{fragment or ''})"

    return replace
