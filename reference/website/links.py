"""Check the built site: every link, anchor and file exists, and nothing comes from another host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes from which a browser loads something; a link that a reader follows is none.
_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
_LOADED_RELATIONS = {"stylesheet", "preload", "modulepreload", "icon", "preconnect", "dns-prefetch", "manifest"}
_CSS_URL = re.compile(r"""(?:@import\s+|url\()\s*["']?(https?:)?//""")


@dataclass
class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag in _LOADS and _LOADS[tag] in found:
            self.loads.append(found[_LOADS[tag]])
        if tag == "link" and "href" in found:
            loaded = _LOADED_RELATIONS & set(found.get("rel", "").split())
            (self.loads if loaded else self.links).append(found["href"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


@cache
def read(path: Path) -> Page:
    """Return the parsed page."""
    page = Page()
    page.feed(path.read_text("utf-8"))
    return page


def problems(site: Path) -> Iterator[str]:
    """Yield what is wrong with a built site."""
    for path in sorted(site.rglob("*.html")):
        page = read(path)
        shown = path.relative_to(site)
        yield from (f"{shown}: {why}" for link in page.links + page.loads if (why := _mistake(site, path, link)))
        yield from (f"{shown}: loads {load} from another host" for load in page.loads if urlsplit(load).netloc)
    for path in sorted(site.rglob("*.css")):
        if _CSS_URL.search(path.read_text("utf-8")):
            yield f"{path.relative_to(site)}: loads a file from another host"


def _mistake(site: Path, page: Path, link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    if page.name == "404.html" and parts.path in ("", "/", ".", "/."):
        return None
    base = site if parts.path.startswith("/") else page.parent
    target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return f"{link} does not exist"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).anchors:
        return f"{link}: no such anchor"
    return None
