"""How an API verifies its tokens: the examples of docs/how-to with its own names in them.

`python -m reference` copies them from those pages to protect.json, whose code the tests run there.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

# The names that the pages use.
ISSUER, AUDIENCE, SCOPE = "https://as.example", "https://orders.example", "orders.read"
_OTHER_AUDIENCES = ("https://mcp.example/mcp", "urn:rabbitmq")
_OTHER_SCOPES = ("tools.call",)
# Characters without a meaning within quotes, in a URL or in a configuration, in all languages of the snippets.
_PLAIN = re.compile(r"[A-Za-z0-9._~:/?&=+@*-]+")


class Snippet(NamedTuple):
    """An example of a page in docs/how-to."""

    name: str
    title: str
    page: str
    language: str
    code: str


@cache
def snippets() -> list[Snippet]:
    """Return all of them, in the order of the tabs."""
    text = resources.files(__package__ or __name__).joinpath("protect.json").read_text("utf-8")
    return [Snippet(**one) for one in json.loads(text)]


def choose(name: str) -> Snippet:
    """Return the snippet of this name, or else the first one."""
    return next((one for one in snippets() if one.name == name), snippets()[0])


def fill(snippet: Snippet, issuer: str, api: Mapping[str, Any]) -> str | None:
    """Return the code for this API; None if a name has a character that a snippet would have to escape."""
    scope = next(iter(api["scopes"]), SCOPE)
    given = {ISSUER: issuer, AUDIENCE: api["identifier"], SCOPE: scope}
    given |= dict.fromkeys(_OTHER_AUDIENCES, api["identifier"]) | dict.fromkeys(_OTHER_SCOPES, scope)
    if not all(_PLAIN.fullmatch(value) for value in given.values()):
        return None
    is_shell = snippet.language in ("sh", "console")
    names = re.compile("|".join(re.escape(one) for one in sorted(given, key=len, reverse=True)))
    return names.sub(lambda found: shlex.quote(given[found[0]]) if is_shell else given[found[0]], snippet.code)
