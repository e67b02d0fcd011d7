"""`python -m reference.changelog 0.2.0`: move the fragments of changelog.d into the section of a version.

Run again, it adds the fragments that came since: nothing is moved twice, and nothing is lost.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"\d+\.\d+\.\d+(?:rc\d+)?")
# Kinds of fragments in the order of readers: first that for which they must do something.
HEADINGS = {
    "changed": "Behaviour changes",
    "security": "Security",
    "added": "Added",
    "fixed": "Fixed",
}
# What a fragment is about, by the first word of its name.
_AREAS = {"guard": "Guard", "client": "Client", "console": "Console", "federation": "Federation", "trust": "Federation"}
_OTHER = "Server and command line"
_ORDER = (_OTHER, "Guard", "Client", "Console", "Federation")
_INTRODUCTION = {"changed": "Read these before you upgrade.\n"}


def main(words: list[str], repo: Path = REPO) -> str:
    """Move the fragments into the section of this version, and return what was done."""
    if len(words) != 1 or not VERSION.fullmatch(words[0]):
        sys.exit("usage: python -m reference.changelog VERSION, such as 0.2.0")
    version, changelog = words[0], repo / "CHANGELOG.md"
    fragments = sorted(path for path in (repo / "changelog.d").glob("*.md") if path.name != "README.md")
    strange = [path.name for path in fragments if _kind(path) not in HEADINGS]
    if strange:
        sys.exit(f"no kind in the name of {', '.join(strange)}: see changelog.d/README.md")
    if fragments:
        before, section, after = _split(changelog.read_text("utf-8"), version)
        changelog.write_text(before + _join(section, fragments, version) + after, "utf-8")
        for path in fragments:  # Order: after the changelog is written, so that a full disk loses none
            path.unlink()
    return f"{len(fragments)} fragments are in the section {version} of CHANGELOG.md"


def _kind(path: Path) -> str:
    return path.name.split(".")[-2]


def _split(text: str, version: str) -> tuple[str, str, str]:
    """Return the text before the section of this version, the section, and the rest."""
    start = text.find(f"\n## {version} ") + 1
    first = text.find("\n## ") + 1
    if not start:
        return text[:first], "", text[first:]
    end = text.find("\n## ", start) + 1 or len(text)
    return text[:start], text[start:end], text[end:]


def _join(section: str, fragments: Iterable[Path], version: str) -> str:
    """Return the section with these fragments, each an item of its kind and area."""
    items = _items(section)
    for path in fragments:
        area = _AREAS.get(re.split(r"[-.]", path.name)[0], _OTHER)
        text = " ".join(path.read_text("utf-8").split())
        items.setdefault((HEADINGS[_kind(path)], area), []).append(f"- {text}\n")
    heading = section.partition("\n")[0] or f"## {version} ({datetime.now(UTC):%Y-%m-%d})"
    parts = [f"{heading}\n"]
    for kind, name in HEADINGS.items():
        areas = [area for area in _ORDER if (name, area) in items]
        if areas:
            parts.append(f"### {name}\n")
            parts += [_INTRODUCTION[kind]] if kind in _INTRODUCTION else []
            parts += [f"#### {area}\n\n{''.join(items[name, area])}" for area in areas]
    return "\n".join(parts) + "\n"


def _items(section: str) -> dict[tuple[str, str], list[str]]:
    """Return the items that the section has, by heading and area."""
    found: dict[tuple[str, str], list[str]] = {}
    heading = area = ""
    for line in section.splitlines():
        if line.startswith("### "):
            heading = line[4:]
        elif line.startswith("#### "):
            area = line[5:]
        elif line.startswith("- "):
            found.setdefault((heading, area), []).append(f"{line}\n")
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1:])}\n")
