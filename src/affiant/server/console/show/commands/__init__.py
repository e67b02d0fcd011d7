"""A request to the admin API as the command that does the same, and as the call of a program."""

from __future__ import annotations

import json
import shlex
from urllib.parse import unquote, urlencode

from affiant.server.admin.roles import identifier
from affiant.server.admin.routes.operation import compile_path
from affiant.server.console.api import Ask
from affiant.server.console.show.commands import clients, issuing, teams, trusts, users

COMMANDS = (*clients.COMMANDS, *issuing.COMMANDS, *trusts.COMMANDS, *teams.COMMANDS, *users.COMMANDS)


def command(ask: Ask) -> str | None:
    """Return the `affiant` command that sends this request; None if there is none."""
    for one in COMMANDS:
        found = compile_path(one.path).fullmatch(ask.path) if one.method == ask.method else None
        if found is not None:
            names = {name: unquote(text) for name, text in found.groupdict().items()}
            members = {**(ask.body or {}), **(ask.query or {})}
            return _line(one.words(names, members), one.given(members))
    return None


def _line(words: list[str], given: object) -> str:
    """Return the line for a shell; a document that the command reads follows, in one line of JSON."""
    line = shlex.join(["affiant", *words])
    # The shell reads it as it is up to a line with the last word alone, which no JSON is.
    return f"{line} <<'JSON'\n{json.dumps(given)}\nJSON" if given is not None else line


def curl(ask: Ask, issuer: str) -> str:
    """Return the curl line that sends this request, with a token of the caller's."""
    api = identifier(issuer)
    query = f"?{urlencode(ask.query)}" if ask.query else ""
    words = [f"curl -X {ask.method} {shlex.quote(api + ask.path + query)}"]
    words.append(f'-H "Authorization: Bearer $(affiant token --resource {shlex.quote(api)})"')
    if ask.if_match is not None:
        words.append(f"-H {shlex.quote(f'If-Match: {ask.if_match}')}")
    if ask.body is not None:
        words.append(f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(ask.body))}")
    return " \\\n  ".join(words)
