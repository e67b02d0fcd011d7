"""One change that makes a request pass, and how texts are written into it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

import msgspec


class Fix(msgspec.Struct):
    """A line to type, and why it helps."""

    line: str
    why: str
    is_command: bool = False  # whether it is typed into a shell

    def __post_init__(self) -> None:
        self.is_command = self.line.startswith(("affiant ", "timedatectl "))


def quoted(text: str) -> str:
    # Attack: most of these texts were chosen by the sender. This is a string of Python, in plain ASCII.
    return json.dumps(text)


def command(*words: str, **options: Iterable[str]) -> str:
    """Return a command of affiant with each option once for each of its values, as a shell reads it."""
    given = [word for name, values in options.items() for value in values for word in (f"--{_option(name)}", value)]
    return " ".join(["affiant", *map(shlex.quote, (*words, *given))])


def _option(name: str) -> str:
    return name.replace("_", "-")
