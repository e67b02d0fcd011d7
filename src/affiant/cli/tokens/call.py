"""`affiant call`."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx2

from affiant.cli.output import Answered, is_json, json_option, show
from affiant.cli.tokens.kept_tokens import KeptTokens, no_cache_option
from affiant.cli.tokens.options import credentials_option, find, resource_option, scope_option
from affiant.cli.tokens.platform import platform_options
from affiant.client.credentials.file import Credentials
from affiant.client.http.auth import make_auth
from affiant.client.http.challenge import find_needed_scope
from affiant.client.http.origin import NoTls
from affiant.client.token import TokenKey
from affiant.errors import ConfigError, RemoteError, Unreachable
from affiant.system.network import failure, find_proxy, http_client
from affiant.system.text import printable

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2, as the names of headers are
_VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")  # section 5.5, ASCII only
# The command itself sets the credentials, the host and the length of the body.
_OURS = ("authorization", "dpop", "host", "content-length", "transfer-encoding")
# Users paste the output of -v into tickets.
_SECRET = re.compile(r"authorization|cookie|token|secret|passw|api-?key", re.IGNORECASE)
_SCOPE = re.compile(r"[!#-&(-\[\]-~]{1,200}")  # RFC 6749 section 3.3, without the apostrophe
_LONGEST = 2000  # characters of a printed line, and of a challenge; all of it with --json


@click.command()
@click.argument("url")
@platform_options
@credentials_option
@scope_option
@resource_option
@click.option("-X", "--request", "method", help="HTTP method (default: GET, or POST with a body)")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="may be repeated")
@click.option("-d", "--body", metavar="TEXT|@FILE|@-", help="body, or where to read it (@-: standard input)")
@click.option("-v", "--verbose", is_flag=True, help="print request and answer on standard error, without secrets")
@click.option("--dpop", is_flag=True, help="use a new token, bound to a key that is made for this call (RFC 9449)")
@click.option("--unsafe-http", is_flag=True, help="send the token without TLS to another machine, too")
@no_cache_option
@json_option()
def call(
    url: str,
    credentials: Path | Credentials | None,
    scope: str | None,
    resource: str | None,
    method: str | None,
    headers: tuple[str, ...],
    body: str | None,
    verbose: bool,
    dpop: bool,
    unsafe_http: bool,
    no_cache: bool,
) -> None:
    """The token is the one that `affiant token` keeps. If the API refuses it, the call is repeated with a new one.

    \b
    affiant call https://orders.example/orders -c billing.affiant.json
    affiant call https://orders.example/orders -d @order.json -H 'Content-Type: application/json' -v

    A certificate that the credentials file names is sent to the API: the token may be bound to it (RFC 8705).
    """
    method = method or ("GET" if body is None else "POST")
    if not _METHOD.fullmatch(method):
        raise click.ClickException(f"{method!r} is not an HTTP method: write it like -X POST")
    sent, content = [_header(text) for text in headers], _read_body(body)
    found = find(credentials, resource, scope)
    auth = _auth(found, TokenKey(resource, scope), url, dpop=dpop, keep=not no_cache, unsafe_http=unsafe_http)
    hooks = _trace() if verbose else None
    with (
        _failures(url),
        http_client(auth=auth, verify=_verify(found), event_hooks=hooks, follow_redirects=False) as http,
    ):
        reply = http.request(method, url, content=content, headers=sent)
    if not is_json():
        click.echo(reply.text)
    elif not reply.is_error:
        show({"status": reply.status_code, "body": reply.text})
    if reply.is_error:
        challenge = reply.headers.get("www-authenticate", "")
        message = f"{url} answered {reply.status_code} {printable(challenge, _LONGEST)}".rstrip()
        message += _advice(find_needed_scope(reply))
        raise Answered(message, {"status": reply.status_code, "www_authenticate": challenge, "body": reply.text})


def _advice(needed: frozenset[str] | None) -> str:
    """Return the option that requests the missing scopes. Attack: the API names them, and users paste the line."""
    if not needed or not all(_SCOPE.fullmatch(name) for name in needed):
        return ""
    return f"; the token lacks a scope: call again with --scope '{' '.join(sorted(needed))}', if the client may have it"


def _auth(found: Credentials, key: TokenKey, url: str, *, dpop: bool, keep: bool, unsafe_http: bool) -> Any:
    """Return the `auth=`. Attack: a redirect. The token goes to the URL that the user gave, and nowhere else."""
    if not dpop:
        return make_auth(KeptTokens(found, keep=keep), key, origin=url, unsafe_http=unsafe_http)
    from affiant.client.identity import Service

    service = Service.from_credentials(found, dpop=True)
    return service.auth(key.resource, key.scope or "", origin=url, unsafe_http=unsafe_http)


def _verify(found: Credentials) -> ssl.SSLContext | bool:
    """Return the TLS context for the API, with the certificate of these credentials if they name one."""
    if found.certificate is None:
        return True
    from affiant.client.identity import Service

    return Service.from_credentials(found).tls()


@contextmanager
def _failures(url: str) -> Iterator[None]:
    try:
        yield
    except NoTls:
        raise ConfigError(
            "the token would go to another machine without TLS: call the API by https, or with --unsafe-http where"
            " something else encrypts the connection"
        ) from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
        raise click.ClickException(f"{url!r} cannot be called: {error}") from None
    except httpx2.TransportError as error:
        raise Unreachable(failure(error, url, proxy=find_proxy(url))) from None
    except httpx2.RequestError as error:
        raise RemoteError(f"the answer of {url} cannot be read: {error}") from None


def _header(text: str) -> tuple[str, str]:
    """Split `Name: value`; a wrong one is not repeated, since it may be a secret."""
    name, _, value = text.partition(":")
    value = value.strip(" \t")
    if not _METHOD.fullmatch(name) or not _VALUE.fullmatch(value):
        raise click.ClickException("-H takes 'Name: value' in ASCII, such as 'Accept: application/json'")
    if name.lower() in _OURS:
        raise click.ClickException(f"-H: the command itself sets the header {name}: leave it out")
    return name, value


def _read_body(given: str | None) -> bytes | None:
    """Return the text itself, or the content of the file behind an `@`."""
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


def _trace() -> dict[str, list[Callable[[Any], None]]]:
    """Return hooks that print each request and each answer without their secrets."""
    return {"request": [_show_request], "response": [_show_response]}


def _show_request(request: httpx2.Request) -> None:
    token = _token(request)
    url = request.url.copy_with(userinfo=b"")
    _print(">", token, f"{request.method} {url}", request.headers.multi_items())


def _show_response(response: httpx2.Response) -> None:
    # Some APIs send the request back.
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
