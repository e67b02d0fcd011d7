"""Scope: names separated by spaces, in any order (RFC 6749 section 3.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAMES = 64
_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")


def parse(text: str) -> tuple[str, ...]:
    """The names, each once, in the order of their first mention.

    Raises:
        ValueError: more than 64 names, a foreign character, or a superfluous space.
    """
    names = text.split(" ", MAX_NAMES)
    if len(names) > MAX_NAMES or not all(map(_NAME.fullmatch, names)):
        raise ValueError("not a scope")
    return tuple(dict.fromkeys(names))


def render(names: Iterable[str]) -> str:
    """The names as one string."""
    return " ".join(names)
