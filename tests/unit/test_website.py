"""The checks of the site of docs/, on a small site with each mistake; `make docs` builds and checks the real one."""

from pathlib import Path

import pytest
from reference.website import links, nav, stage

GOOD = '<h1 id="top">A</h1><a href="b.html#part">b</a><a href="https://other.example">c</a><script src="a.js"></script>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "a.html").write_text(GOOD)
    (tmp_path / "b.html").write_text('<h2 id="part">B</h2><a href="#part">here</a>')
    (tmp_path / "a.js").write_text("")
    return tmp_path


def test_good_site(site: Path) -> None:
    assert list(links.problems(site)) == []


@pytest.mark.parametrize(
    ("added", "problem"),
    [
        ('<a href="c.html">c</a>', "c.html does not exist"),
        ('<a href="b.html#other">b</a>', "b.html#other: no such anchor"),
        ('<a href="#other">b</a>', "#other: no such anchor"),
        ('<img src="c.png">', "c.png does not exist"),
        ('<script src="https://cdn.example/a.js"></script>', "from another host"),
        ('<link rel="stylesheet" href="//cdn.example/a.css">', "from another host"),
        ('<link rel="preconnect" href="https://fonts.example">', "from another host"),
    ],
)
def test_mistake(site: Path, added: str, problem: str) -> None:
    (site / "a.html").write_text(GOOD + added)
    (found,) = links.problems(site)
    assert problem in found


def test_style_from_another_host(site: Path) -> None:
    (site / "a.css").write_text("@import url('https://fonts.example/x');")
    (found,) = links.problems(site)
    assert found.startswith("a.css")


def test_navigation_is_what_the_index_has() -> None:
    assert nav.CONFIG.read_text("utf-8") == nav.build(), "run: python -m reference"


def test_every_page_is_in_the_index() -> None:
    pages = {nav.place(page) for page in (*nav.PROJECT, *nav.DOCS.rglob("*.md"))} - {Path("README.md")}
    assert pages == set(nav.pages())


def test_links_of_the_site() -> None:
    """A page of the root moves, and a link to source code, which is no page, becomes its text."""
    assert "](../how-to/console.md)" in stage.moved(nav.ROOT / "README.md")
    assert "](project/readme.md)" in stage.moved(nav.INDEX)
    assert "](../tests" not in stage.moved(nav.DOCS / "conformance.md")
