"""Every page with Python in it is run by a test, which names the page, or is listed here with the reason why not."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
ELSEWHERE = {
    "interop.md": "shows the clients of others: tests/interop/recipes.py has the same code, in their own environment",
}


def pages() -> list[Path]:
    return sorted(path for path in (REPO / "docs").rglob("*.md") if "\n```python\n" in path.read_text("utf-8"))


@pytest.fixture(scope="module")
def named() -> set[str]:
    """The ends of paths that tests have in their code; a docstring does not read a page."""
    return {word for path in (REPO / "tests").rglob("*.py") if path != Path(__file__) for word in words(path)}


def words(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8")
    if ".md" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            yield node.value.rpartition("/")[2]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_page_is_run(page: Path, named: set[str]) -> None:
    assert page.name in named | ELSEWHERE.keys(), f"no test reads {page.name}: run its code in one"
