"""The request and the answer of `affiant call`: headers, body, and the lines of `-v`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import httpx2

from affiant.system.text import printable

METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2, as the names of headers are
_VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")  # section 5.5, without what is not ASCII
# The command itself sets the credentials, the host and the length of the body.
_OURS = ("authorization", "dpop", "host", "content-length", "transfer-encoding")
# An output of -v ends in a ticket.
_SECRET = re.compile(r"authorization|cookie|token|secret|passw|api-?key", re.IGNORECASE)
_LONGEST = 2000  # characters of a line


def read_headers(given: Iterable[str]) -> list[tuple[str, str]]:
    """Split `Name: value`; what is wrong is not repeated, since it may be a secret."""
    return [_header(text) for text in given]


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    value = value.strip(" \t")
    if not METHOD.fullmatch(name) or not _VALUE.fullmatch(value):
        raise click.ClickException("-H takes 'Name: value' in ASCII, such as 'Accept: application/json'")
    if name.lower() in _OURS:
        raise click.ClickException(f"-H: the command itself sets the header {name}: leave it out")
    return name, value


def read_body(given: str | None) -> bytes | None:
    """The text itself, or what the file behind an `@` holds."""
    if given is None or not given.startswith("@"):
        return None if given is None else given.encode()
    if given == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise click.ClickException(
            f"-d: the file {given[1:]!r} cannot be read ({error.strerror}); send text that begins with @ by -d @-"
        ) from None


def shown_on_stderr() -> dict[str, list[Callable[[Any], None]]]:
    """Hooks for an HTTP client, which print each request and each answer without their secrets."""
    return {"request": [_show_request], "response": [_show_response]}


def _show_request(request: httpx2.Request) -> None:
    token = _token(request)
    url = request.url.copy_with(userinfo=b"")
    _print(">", token, f"{request.method} {url}", request.headers.multi_items())


def _show_response(response: httpx2.Response) -> None:
    # Some APIs send back what they got.
    token = _token(response.request)
    _print("<", token, f"{response.status_code} {response.reason_phrase}".rstrip(), response.headers.multi_items())


def _token(request: httpx2.Request) -> str:
    return request.headers["authorization"].partition(" ")[2]


def _print(mark: str, token: str, first: str, headers: Iterable[tuple[str, str]]) -> None:
    for line in (
        first.replace(token, "(token)"),
        *(f"{name}: {_value(name, value, token)}" for name, value in headers),
    ):
        click.echo(f"{mark} {printable(line, _LONGEST)}", err=True)


def _value(name: str, value: str, token: str) -> str:
    if name.lower() == "dpop":
        return "(proof)"
    without = value.replace(token, "(token)")
    if without in ("Bearer (token)", "DPoP (token)"):
        return without
    return "(not shown)" if _SECRET.search(name) else without
