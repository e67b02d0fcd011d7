"""The tests of each section of a specification and of each attack, read from the marks in tests/."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "conformance.md"
THREATS = ROOT / "docs" / "threat-model.md"
_MARKS = {"rfc", "attack"}
_HEAD = """# Where each rule is tested

Made by `python -m reference` from the marks `rfc` and `attack` of the tests. A test may be listed at several rules; one
without a mark is not listed.
"""

Mark = tuple[str, ...]  # ("rfc", "7523", "3(4)") or ("attack", "12")
Tests = dict[Mark, dict[str, list[str]]]  # the names of the tests by file


def find(folder: Path = TESTS) -> Tests:
    """Return the tests under each mark."""
    found: Tests = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.rglob("test_*.py")):
        for name, marks in _functions(ast.parse(path.read_text("utf-8"))):
            for mark in sorted(marks):
                found[mark][path.relative_to(ROOT).as_posix()].append(name)
    return found


def _functions(module: ast.Module) -> Iterator[tuple[str, set[Mark]]]:
    tables: dict[str, set[Mark]] = {}
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                tables[name] = _marks(node, tables)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name.startswith("test_"):
                marks = [_marks(decorator, tables) for decorator in node.decorator_list]
                yield node.name, tables.get("pytestmark", set()).union(*marks)


def _marks(node: ast.AST, tables: dict[str, set[Mark]]) -> set[Mark]:
    """Return the marks in this expression, and in the tables that it names."""
    found = set[Mark]()
    for part in ast.walk(node):
        match part:
            case ast.Call(func=ast.Attribute(attr=kind), args=[_, *_]) if kind in _MARKS:
                arguments = [str(each.value) for each in part.args if isinstance(each, ast.Constant)]
                found |= {(kind, *arguments)} if kind == "rfc" else {(kind, number) for number in arguments}
            case ast.Call(func=ast.Name("row"), args=[ast.Constant(number), *_], keywords=more):
                found.add(("attack", str(number)))
                found |= {
                    ("rfc", *str(rfc.value.value).split(" ")) for rfc in more if isinstance(rfc.value, ast.Constant)
                }
            case ast.Name(name) if name in tables:
                found |= tables[name]
    return found


def attacks() -> dict[str, str]:
    """Return the attacks of the threat model by number."""
    return _rows(3)


def elsewhere() -> dict[str, str]:
    """Return why an attack of the threat model has no test of its own, by number."""
    return _rows(1)


def _rows(columns: int) -> dict[str, str]:
    """Return the first of so many columns after the number."""
    row = re.compile(rf"^\| (\d+) \| ([^|]+) \|(?: [^|]+ \|){{{columns - 1}}}$", re.MULTILINE)
    return dict(row.findall(THREATS.read_text("utf-8")))


def build() -> str:
    """Return the page."""
    found = find()
    lines = [_HEAD, "## Attacks\n", "Numbers as in [threat-model.md](threat-model.md).\n"]
    lines += ["| # | attack | tests |", "| --- | --- | --- |"]
    lines += [f"| {n} | {what} | {_cell(found.get(('attack', n)))} |" for n, what in attacks().items()]
    sections = sorted((mark for mark in found if mark[0] == "rfc"), key=_order)
    for number in dict.fromkeys(mark[1] for mark in sections):
        title = f"RFC {number}" if number.isdigit() else number
        lines += [f"\n## {title}\n", "| section | tests |", "| --- | --- |"]
        lines += [f"| {mark[2]} | {_cell(found[mark])} |" for mark in sections if mark[1] == number]
    return "\n".join(lines) + "\n"


def _cell(tests: dict[str, list[str]] | None) -> str:
    if not tests:
        return "see [threat-model.md](threat-model.md#attacks-without-a-test-under-their-number)"
    return "<br>".join(f"[{path}](../{path}): {', '.join(names)}" for path, names in tests.items())


def _order(mark: Mark) -> list[tuple[bool, int, str]]:
    # An item of a section, as 3(4), comes before a part of it, as 3.1.
    parts = re.findall(r"\(?\d+|[^\d.()]+", " ".join(mark[1:]))
    numbers = [(part, part.lstrip("(")) for part in parts]
    return [(not part.startswith("("), int(n) if n.isdigit() else 10_000, n) for part, n in numbers]
