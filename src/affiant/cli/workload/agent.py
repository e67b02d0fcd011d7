"""`affiant agent`."""

from __future__ import annotations

import grp
import math
import os
import random
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import click

from affiant.cli.arguments import FILE
from affiant.cli.output import json_option, show
from affiant.cli.tokens.options import credentials_option, find, resource_option, scope_option
from affiant.cli.tokens.platform import platform_options
from affiant.cli.workload.supervision import Signals, Stopped, notify
from affiant.client.cache.stores.kept import CLOCK_SECONDS
from affiant.client.credentials.file import Credentials, put_private
from affiant.client.identity import Service
from affiant.client.token import Token
from affiant.errors import ConfigError, Error
from affiant.system.text import instant, one_line, printable

_SHORTEST, _LONGEST = 1.0, 60.0  # seconds between two attempts while the server does not answer
_LOOK = 30.0  # seconds after which the clock is read again: the machine may have slept
_MOST_ASKED = 600.0  # seconds of a Retry-After that are obeyed
_EXEC_SECONDS = 60


@click.command()
@platform_options
@credentials_option
@scope_option
@resource_option
@click.option("--to", "path", type=FILE, required=True, help="the token file; its folder must exist")
@click.option("--group", metavar="NAME", help="let this group read it too: mode 0640 instead of 0600")
@click.option(
    "--min-ttl",
    type=click.IntRange(min=0),
    default=0,
    metavar="SECONDS",
    help="lifetime that the token always has left (default: a quarter of its life)",
)
@click.option("--exec", "command", metavar="COMMAND", help="run this after each new token, without a shell")
@json_option("print one JSON document when the file has its first token")
def agent(
    credentials: Path | Credentials | None,
    scope: str | None,
    resource: str | None,
    path: Path,
    group: str | None,
    min_ttl: int,
    command: str | None,
) -> None:
    """The file has the token alone, without a line end. It is replaced as a whole, so a reader never gets half a token.

    \b
    affiant agent -c billing.affiant.json --to /run/billing/token
    affiant agent -c billing.affiant.json --to /run/billing/token --group billing --exec 'systemctl reload billing'

    With the first token it is ready (sd_notify). While the server is away, the file keeps its last token. SIGHUP
    renews now. At the end the file stays, so that a restart leaves no gap; its token expires by itself.
    """
    gid, words = _gid(group), _words(command)
    running = _Agent(credentials, scope, resource, path, gid, float(min_ttl), words)
    try:
        with Signals() as signals:
            running.begin()
            while True:
                running.wait(signals)
                running.renew()
    except Stopped:
        notify("STOPPING=1")


@dataclass(slots=True)
class _Agent:
    credentials: Path | Credentials | None
    scope: str | None
    resource: str | None
    path: Path
    gid: int | None
    min_ttl: float
    command: list[str]
    token: Token | None = None
    set_at: float = 0.0  # when due_at was set
    due_at: float = 0.0
    failures: int = 0

    def begin(self) -> None:
        """Get the first token, or raise: a wrong setup ends the process, and the supervisor shows it."""
        token = self._fetch()
        if token.expires_at - time.time() <= self.min_ttl:
            raise ConfigError(f"tokens of this server do not live for --min-ttl {self.min_ttl:.0f} seconds: lower it")
        self._take(token)
        end = instant(token.expires_at)
        show(
            {"file": str(self.path), "expires_at": int(token.expires_at), "scope": token.scope, "pid": os.getpid()},
            f"affiant agent  {self.path}   valid until {end}   renewed at {instant(self.due_at)}",
        )
        notify("READY=1", f"STATUS=token valid until {end}")
        self._run()

    def wait(self, signals: Signals) -> None:
        # A clock that was set back says nothing about the end of a token that came before.
        while self.set_at - CLOCK_SECONDS <= (now := time.time()) < self.due_at:
            if signals.sleep(min(self.due_at - now, _LOOK)):
                return

    def renew(self) -> None:
        """Replace the token, or report why not and set the time of the next attempt."""
        try:
            self._take(self._fetch())
        except Error as error:
            self._postpone(error)
            return
        if self.failures:
            _report("the server answers again: the file has a new token")
        self.failures = 0
        notify(f"STATUS=token valid until {instant(self.token.expires_at if self.token else 0)}")
        self._run()

    def _fetch(self) -> Token:
        # The file is read each time: its key may have been rotated.
        found = find(self.credentials, self.resource, self.scope)
        return Service.from_credentials(found).token(self.resource, self.scope)

    def _take(self, token: Token) -> None:
        put_private(self.path, token.value, put=os.replace, group=self.gid, mode=0o600 if self.gid is None else 0o640)
        self.token = token
        self.set_at = time.time()
        earliest = self.set_at + _SHORTEST  # a server whose tokens live shorter than --min-ttl gets no flood
        self.due_at = max(earliest, min(token.renew_at, token.expires_at - self.min_ttl))

    def _postpone(self, error: Error) -> None:
        self.failures += 1
        now, end = time.time(), self.token.expires_at if self.token else 0.0
        left = max(0.0, end - now) or math.inf
        wait = max(_SHORTEST, min(_LONGEST, 2.0 ** min(self.failures, 10), left / 4)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        wait = max(wait, min(_MOST_ASKED, getattr(error, "retry_after", None) or 0.0))
        self.set_at, self.due_at = now, now + wait
        state = f"the last token is valid until {instant(end)}" if now < end else f"its token expired at {instant(end)}"
        text = f"no new token: {one_line(error)}. {self.path}: {state}; next attempt in {wait:.0f} s"
        _report(text)
        notify(f"STATUS={text}")

    def _run(self) -> None:
        if not self.command:
            return
        try:
            done = subprocess.run(self.command, stdin=subprocess.DEVNULL, check=False, timeout=_EXEC_SECONDS)  # noqa: S603 - the user's own
            why = f"it ended with {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"it took more than {_EXEC_SECONDS} s"
        except OSError as error:
            why = error.strerror or "it cannot be started"
        if why:
            _report(f"--exec {self.command[0]}: {why}")


def _report(text: str) -> None:
    click.echo(f"affiant: {printable(text)}", err=True)


def _gid(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError("--group names no group of this machine: see  getent group") from None


def _words(command: str | None) -> list[str]:
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise ConfigError(f"--exec cannot be split into words: {error}") from None
    if command is not None and not words:
        raise ConfigError("--exec names no command")
    return words
