"""The token that a helper may hand out, and the hosts that it is for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from affiant.cli.tokens.kept_tokens import KeptTokens
from affiant.cli.tokens.options import credentials_option, find, resource_option, scope_option
from affiant.client.credentials.file import Credentials
from affiant.client.token import Token, TokenKey
from affiant.errors import LocalError
from affiant.system.urls import PORTS, is_safe_url

_LEAST_LIFE = 60  # seconds that a kept token must live, as for `affiant token`
_LONGEST = 65_536  # bytes of a question
# Attack: a URL that two parsers read differently. Nothing but a host and a port is taken, without a user.
_AUTHORITY = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
_PLAIN = re.compile(r"[!-~]+")

Host = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Holder:
    """One service, and the hosts that may get its tokens."""

    found: Credentials
    key: TokenKey
    hosts: frozenset[Host]
    named: str | None  # the user name of --username

    def serves(self, asked: str) -> bool:
        """Whether the token is for this host, given as a URL or as HOST[:PORT]."""
        return parse_host(asked) in self.hosts

    def token(self) -> Token:
        """Return a token that lives for a minute at least.

        Raises:
            LocalError: the program could not use it.
        """
        return check_bearer(KeptTokens(self.found, min_ttl=_LEAST_LIFE).get(self.key))

    def forget(self, value: str) -> None:
        """Replace this token: the host refused it."""
        KeptTokens(self.found).forget(self.key, value)

    @property
    def username(self) -> str:
        """The user name of HTTP Basic.

        Raises:
            LocalError: it cannot be sent.
        """
        name = self.named or self.found.client_id
        if ":" in name or not _PLAIN.fullmatch(name):  # RFC 7617 section 2
            raise LocalError("this client_id cannot be a user name of HTTP: name another with --username NAME")
        return name


def holder_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every helper, and call the command with a Holder before its arguments."""

    @wraps(command)
    def run(  # click adds the arguments of each helper to these
        credentials: Path | None,
        resource: str | None,
        scope: str | None,
        hosts: tuple[str, ...],
        username: str | None,
        **arguments: Any,
    ) -> None:
        found = find(credentials, resource, scope)
        may = _hosts(hosts, resource or found.resource)
        command(Holder(found, TokenKey(resource, scope), may, username), **arguments)

    options = (
        credentials_option,
        click.option(
            "--host",
            "hosts",
            multiple=True,
            metavar="HOST[:PORT]",
            help="who may get the token (default: the host of --resource, or of the file's resource); may be repeated",
        ),
        resource_option,
        scope_option,
        click.option("--username", metavar="NAME", help="the user name that goes with it (default: the client_id)"),
    )
    for option in reversed(options):
        run = option(run)
    return run


def check_bearer(token: Token) -> Token:
    """Return a token that a program without keys can use and that fits into one line, or raise LocalError."""
    # Attack: a line end in the token would be one in the protocol.
    if token.token_type.lower() != "bearer" or not _PLAIN.fullmatch(token.value):
        raise LocalError("the token is bound to a key, or is no text: only a bearer token can be handed out")
    return token


def parse_host(asked: str) -> Host | None:
    """Return host and port of a URL or of HOST[:PORT]; None if a token must not go there."""
    try:
        parts = urlsplit(asked if "://" in asked else f"https://{asked}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None or not _AUTHORITY.fullmatch(parts.netloc) or not is_safe_url(f"{parts.scheme}://{parts.netloc}"):
        return None
    return host, port or PORTS[parts.scheme]


def read_question() -> str:
    """Return what the program wrote to standard input."""
    text = sys.stdin.buffer.read(_LONGEST + 1)
    try:
        if len(text) <= _LONGEST:
            return text.decode()
    except ValueError:
        pass
    raise click.UsageError("the question on standard input is not text, or too long")


def _hosts(named: tuple[str, ...], resource: str | None) -> frozenset[Host]:
    given = named or ((resource,) if resource and "://" in resource else ())
    if not given:
        raise click.UsageError("name the host that may get the token: --host HOST")
    found = {one: parse_host(one) for one in given}
    for one, host in found.items():
        if host is None:
            raise click.UsageError(f"{one!r} is no host that may get a token: write it like git.example, without http")
    return frozenset(host for host in found.values() if host is not None)
