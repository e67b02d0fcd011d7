"""Words that hide an actor or a technical term (CONTRIBUTING.md, "Prose"), in the source and the pages."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
WORDS = {
    "anew": "again",
    "be had": "name the verb",
    "beside": "next to, in addition to",
    "come to be": "name the verb",
    "comes to be": "name the verb",
    "everybody": "name the actor",
    "hold for valid": "accept",
    "holds for valid": "accepts",
    "meanwhile": "during that time, until then",
    "nobody": "name the actor",
    "somebody": "name the actor",
    "stands": "is, exists, is registered",
    "tells": "says, returns, reports, logs",
    "told": "said, returned, reported, logged",
}


def source(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def pages() -> list[Path]:
    return [*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")]


@pytest.fixture(scope="module")
def prose() -> dict[str, str]:
    """What is written in each file."""
    texts = {path: "\n".join(source(path)) for path in sorted((REPO / "src").rglob("*.py"))}
    texts |= {path: path.read_text("utf-8") for path in sorted(pages())}
    return {path.relative_to(REPO).as_posix(): text for path, text in texts.items()}


@pytest.mark.parametrize("word", WORDS)
def test_a_plain_word_is_used(prose: dict[str, str], word: str) -> None:
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    found = {path: count for path, text in prose.items() if (count := len(pattern.findall(text)))}
    places = "".join(f"\n  {path}: {count}" for path, count in found.items())
    assert not found, f"{word!r}: say {WORDS[word]}:{places}"
