"""Every code block of the pages is run, is parsed, or says why not; every page begins with what the reader gets."""

import ast
import configparser
import json
import re
import shlex
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml
from tests.test_examples import ELSEWHERE, words

from affiant.cli.main import affiant

REPO = Path(__file__).resolve().parent.parent
GENERATED = "<!-- Made by `python -m reference`"  # tests/test_reference.py compares
NOT_RUN = re.compile(r"<!-- not run: .+ -->\s*$")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
OUTPUT = {"", "text", "mermaid"}  # what a program prints, or a picture
BY_OTHER_NAMES = {"caddy.md", "envoy.md", "nginx.md", "traefik.md"}  # tests/interop/test_forward_auth.py runs them
SHELL = {"sh", "console", "bash"}
MOST_SENTENCES = 3


class Block(NamedTuple):
    """A code block. `is_excused` if the line before it says why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    is_excused: bool

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPO)}:{self.line}"


def pages() -> list[Path]:
    """Return the pages that people write."""
    found = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
    return [page for page in found if not page.read_text("utf-8").startswith(GENERATED)]


def blocks() -> Iterator[Block]:
    for page in pages():
        text = page.read_text("utf-8")
        for found in FENCE.finditer(text):
            before = text[: found.start()]
            yield Block(page, before.count("\n") + 1, found[2], found[3], bool(NOT_RUN.search(before)))


BLOCKS = list(blocks())


def ini(text: str) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text if text.lstrip().startswith("[") else f"[all]\n{text}")


PARSERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "ini": ini,
    "properties": ini,
    "python": lambda text: compile(text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT),
}


@pytest.fixture(scope="module")
def named() -> set[str]:
    """The pages that a test reads, by the ends of their paths."""
    return {word for path in (REPO / "tests").rglob("*.py") if path != Path(__file__) for word in words(path)}


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language in PARSERS], ids=lambda block: block.place)
def test_block_is_well_formed(block: Block) -> None:
    if not block.is_excused:
        PARSERS[block.language](block.text)


def test_other_blocks_are_run_or_say_why_not(named: set[str]) -> None:
    known = OUTPUT | SHELL | PARSERS.keys()
    missing = [
        f"{block.place}: {block.language}"
        for block in BLOCKS
        if block.language not in known
        and not block.is_excused
        and block.page.name not in named | ELSEWHERE.keys() | BY_OTHER_NAMES
    ]
    assert not missing, "run it in a test that names its page, or write <!-- not run: reason --> before it: " + str(
        missing
    )


def test_commands_are_shell() -> None:
    """Bash reads each block of commands; the output after a prompt is left out."""
    mistakes = [
        f"{block.place}: {done.stderr}"
        for block in BLOCKS
        if block.language in SHELL
        and (
            done := subprocess.run(["bash", "-n"], input=typed(block), capture_output=True, text=True, check=False)
        ).returncode
    ]
    assert not mistakes


def test_commands_are_those_of_affiant() -> None:
    """The command line itself reads each command of a page: a command or an option that is gone fails here."""
    mistakes = [
        f"{block.place}: affiant {' '.join(line)}: {why}"
        for block in BLOCKS
        if block.language in SHELL and not block.is_excused
        for line in command_lines(typed(block))
        if (why := mistake(line))
    ]
    assert not mistakes, "\n".join(mistakes)


def typed(block: Block) -> str:
    """Return what a reader types: with prompts, the lines that have one, and those that go on."""
    lines = block.text.splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return block.text
    found, goes_on = list[str](), False
    for line in lines:
        if line.startswith("$ ") or goes_on:
            found.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\") or opens_here_document(line)
    return "\n".join(found) + "\n"


def opens_here_document(line: str) -> bool:
    return "<<" in line


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of affiant that begins a line."""
    for line in text.replace("\\\n", " ").splitlines():
        if not line.startswith("affiant ") or "$(" in line or "…" in line or "..." in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        found = list(lexer)[1:]
        ends = [number for number, word in enumerate(found) if set(word) <= set("|&;<>")]
        yield found[: ends[0]] if ends else found


def mistake(line: list[str]) -> str | None:
    """Return what is wrong with a command line, by the parser of the command that it names."""
    command: click.Command = affiant
    context = click.Context(command, info_name="affiant")
    rest = list(line)
    try:
        while isinstance(command, click.Group):
            if type(command).parse_args is not click.Group.parse_args:  # it has words of its own
                return None
            name = next((word for word in rest if not word.startswith("-")), None)
            found = command.get_command(context, name) if name is not None else None
            if found is None:
                return None if name is None else f"no command {name}"
            rest = rest[rest.index(name) + 1 :] if name is not None else rest
            command, context = found, click.Context(found, info_name=name, parent=context)
        if type(command).parse_args is click.Command.parse_args:
            command.make_parser(context).parse_args(list(rest))
    except click.UsageError as error:
        return error.format_message()
    return None


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(REPO).as_posix())
def test_page_begins_with_what_the_reader_gets(page: Path) -> None:
    """A title, then a paragraph of at most three sentences, before any code, list or heading."""
    if page.parent.name == "decisions":
        return  # a record of a decision begins with its status
    title, _, rest = page.read_text("utf-8").partition("\n")
    assert title.startswith("# "), title
    first = rest.strip().split("\n\n")[0]
    assert re.match(r"(?!```)[\w*`\[]", first), f"begins with {first[:40]!r}"
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)|`[^`]*`", "x", first)
    sentences = re.findall(r"[.?](?:\s|$)", text)
    assert len(sentences) <= MOST_SENTENCES, f"{len(sentences)} sentences: {first}"


def test_titles_are_unique() -> None:
    titles = Counter(page.read_text("utf-8").partition("\n")[0] for page in pages())
    assert [title for title, number in titles.items() if number > 1] == []
