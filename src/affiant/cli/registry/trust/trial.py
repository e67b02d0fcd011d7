"""`affiant trust test`."""

from __future__ import annotations

import re
import shlex
import sys
import time
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from affiant.cli.arguments import read_given
from affiant.cli.connection.data import shown_place
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.diagnosis.explain import REFUSED, lines, parse_time, read_answer
from affiant.cli.output import show
from affiant.errors import ConfigError
from affiant.server.explain.explanation import Explanation
from affiant.server.explain.federation.jobs import NO_ID_TOKEN
from affiant.server.explain.federation.mend import TOKEN_FILE

_LONGEST = 1 << 16  # bytes
_LONGEST_NAME = 256  # characters of a file
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_NOTHING = frozenset({"", "null", "none", "undefined"})


@click.command("test")
@click.argument("token", metavar="TOKEN_FILE|-")
@admin_options
@click.option("--at", metavar="TIME", help="judge as of this time: seconds since 1970, or 2026-11-21T08:00:00Z")
@click.option("--trust", metavar="NAME", help="judge by this trust (default: that of the token's issuer)")
def test(token: str, place: Place, at: str | None, trust: str | None) -> None:
    """Judge a token before a job sends one.

    The trusts and rules of the server judge it. The command prints what mends the token first, and then everything that
    is wrong: signature, audience, times, what the trust refuses, and each condition of each rule. The token is not used
    up, stored or logged. "-" reads it from standard input.

    \b
    affiant trust test job.jwt
    affiant trust test job.jwt --trust github --at 2026-11-21T08:00:00Z

    The exit code is 0 for a token that would be accepted, and 4 for one that would be refused.
    """
    text = read_given(token, longest=_LONGEST).removeprefix("Bearer ").strip("\"' \n")
    if text.lower() in _NOTHING:
        raise ConfigError(
            f"{NO_ID_TOKEN}  lets a job of GitHub have a token: this is none, so the platform gave the job nothing"
        )
    if not _JWT.fullmatch(text):
        raise ConfigError(_no_token(token))
    now = parse_time(at) if at is not None else time.time()
    answer = place.post("/explain", {"request": text, "at": now, "trust": trust})
    found = _with_file(read_answer(answer, place), token)
    by = place.url or shown_place(place.chosen)
    show({**msgspec.to_builtins(found), "judged_by": by}, *lines(found), "", f"   judged by   {by}")
    if found.reason is not None:
        sys.exit(REFUSED)


def _no_token(given: str) -> str:
    """Return why what was given cannot be judged; nothing of a token is repeated."""
    if given == "-" or (len(given) < _LONGEST_NAME and Path(given).is_file()):
        which = "standard input" if given == "-" else given
        return f"{which} has no signed JWT: save the token alone, on one line, as three parts with a point between them"
    return "there is no file of this name, and this is no token: give a file with a signed JWT, or - for standard input"


def _with_file(found: Explanation, given: str) -> Explanation:
    """Return the explanation with the file that was given in the commands that take one."""
    if found.fix is None or TOKEN_FILE not in found.fix.line or not Path(given).is_file():
        return found
    return replace(found, fix=replace(found.fix, line=found.fix.line.replace(TOKEN_FILE, shlex.quote(given))))
