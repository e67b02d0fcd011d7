"""The words of the command line: error messages about them must not show pasted secrets, since they end in logs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click


class NamedPath(click.Path):
    """A path that is not empty: `-c "$UNSET"` would otherwise mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail(f"the name of the {self.name} is empty: is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


FILE = NamedPath(path_type=Path, dir_okay=False, readable=False)  # its reader reports errors
FOLDER = NamedPath(path_type=Path, file_okay=False, readable=False)
_EXTRA = re.compile(r"Got unexpected extra arguments? ")
_THUMBPRINT = re.compile(r"-[A-Za-z0-9_][A-Za-z0-9_-]{41}")  # one of 64 begins like an option
_IN_BODY = re.compile(r"(?<![^ ])body\.(\w+)((?:\.\w+)*)(?=:)")  # where the admin API found a mistake
_LONGEST_NAME = 256  # characters of a file; a JWT or a form may be longer
_SHORT = 24  # characters: secrets of affiant are longer
_OPTION = re.compile(rf"-[A-Za-z]|--[a-z][a-z-]{{0,{_SHORT}}}")
# A word, or a path or a URL of short parts: none is as long as a secret, and none ends as base64 does.
_PLAIN = re.compile(rf"[\w.,:@ -]{{0,{_SHORT}}}")
_PATH = re.compile(r"(?:[a-z]{2,5}:/)?(?:/?[\w.,:~-]{0,32})(?:/[\w.,:~-]{0,32})*")
_KINDS = {  # click names its classes
    "integer range": "a whole number",
    "integer": "a whole number",
    "float range": "a number",
    "float": "a number",
}
# A JWT, a ticket, a document that may have a key or a secret, a PEM file.
_SECRETS = (
    (re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]*)*"), "(a JWT)"),
    (re.compile(r"affiant-ticket-[\w-]+"), "(a ticket)"),
    (re.compile(r"\{\s*\\?\".*\}?", re.DOTALL), "(JSON)"),
    (re.compile(r"-----BEGIN.*", re.DOTALL), "(PEM)"),
)


def with_thumbprints(words: Sequence[str]) -> list[str]:
    """Return the words with thumbprints that begin with a hyphen at the end, after ``--``: they are not options.

    A user who revokes a leaked key copies its name from a list. For ``-h...``, click would show the help and exit.
    """
    end = words.index("--") if "--" in words else len(words)
    moved = [
        place
        for place, word in enumerate(words[:end])
        if _THUMBPRINT.fullmatch(word) and place and not words[place - 1].startswith("-")  # or it is an option's value
    ]
    if not moved:
        return list(words)
    kept = [word for place, word in enumerate(words[:end]) if place not in moved]
    return [*kept, "--", *(words[place] for place in moved), *words[end + 1 :]]


def read_given(given: str, *, longest: int) -> str:
    """Return the text of a token or a request: of standard input for "-", of the file with this name, or as given."""
    if given == "-":
        raw = sys.stdin.buffer.read(longest)
    elif len(given) < _LONGEST_NAME and Path(given).is_file():
        with Path(given).open("rb") as file:
            raw = file.read(longest)
    else:
        return given.strip()
    return raw.decode("utf-8", "replace").strip()


def as_typed(detail: str) -> str:
    """Return the detail of a refusal with the options of the running command instead of members of the request."""
    context = click.get_current_context(silent=True)
    parameters = context.command.params if context is not None else []
    options = {one.name: max(one.opts, key=len) for one in parameters if isinstance(one, click.Option)}
    return _IN_BODY.sub(lambda found: options.get(found[1], found[1] + found[2]), detail)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that the user probably meant, or nothing."""
    from difflib import get_close_matches

    by_lower = {one.lower(): one for one in known}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else ""


def usage_message(error: click.ClickException, words: Sequence[str]) -> str:
    """Return the message of a usage error without words that may be secrets."""
    # click puts each choice of a missing option on a line of its own, after a tab.
    message = " ".join(map(str.strip, error.format_message().splitlines()))
    if _EXTRA.match(message):
        return f"too many arguments: write  {_usage(error)}"
    for place, word in sorted(enumerate(words, 1), key=lambda found: -len(found[1])):
        for part in _parts(word):
            if not _is_plain(part):
                message = message.replace(part, f"(argument {place})").replace(repr(part)[1:-1], f"(argument {place})")
    for kind, meaning in _KINDS.items():
        message = message.replace(f"is not a valid {kind}.", f"is not {meaning}.")
    return hide_secrets(message)


def hide_secrets(message: str) -> str:
    """Return the message without tokens, documents with keys, and PEM files."""
    for pattern, name in _SECRETS:
        message = pattern.sub(name, message)
    return message


def _parts(word: str) -> Iterator[str]:
    """Yield the word; then, for ``--option=value`` and ``-ovalue``, the option and the value."""
    yield word
    if word.startswith("-"):
        option, separator, value = word.partition("=")
        yield from (option, value) if separator else ()
        if not word.startswith("--"):
            yield word[2:]


def _is_plain(word: str) -> bool:
    pattern = _OPTION if word.startswith("-") and len(word) > 1 else _PLAIN
    return bool(pattern.fullmatch(word) or ("/" in word and _PATH.fullmatch(word)))


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)]) if context else "affiant"
