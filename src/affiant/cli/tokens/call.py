"""`affiant call`."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx2

from affiant.cli.output import Answered, json_option, show
from affiant.cli.tokens.exchange import METHOD, read_body, read_headers, shown_on_stderr
from affiant.cli.tokens.kept_tokens import KeptTokens, no_cache_option
from affiant.cli.tokens.options import credentials_option, find, resource_option, scope_option
from affiant.client.credentials import Credentials
from affiant.client.http_auth import make_auth
from affiant.client.token import TokenKey
from affiant.errors import RemoteError, Unreachable
from affiant.system.network import failure, find_proxy, http_client
from affiant.system.text import printable

_LONGEST = 2000  # characters of a challenge that are shown; all of it with --json


@click.command()
@click.argument("url")
@credentials_option
@scope_option
@resource_option
@click.option("-X", "--request", "method", help="HTTP method (default: GET, or POST with a body)")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="may be repeated")
@click.option("-d", "--body", metavar="TEXT|@FILE|@-", help="body, or where to read it (@-: standard input)")
@click.option("-v", "--verbose", is_flag=True, help="show on standard error what is sent and answered, without secrets")
@click.option("--dpop", is_flag=True, help="with a new token, bound to a key that is made for this call (RFC 9449)")
@no_cache_option
@json_option
def call(url: str, credentials: Path | None, scope: str | None, resource: str | None, **options: Any) -> None:
    """Call an API with a token, the one that `affiant token` keeps. When the API refuses it, once more with a new one.

    \b
    affiant call https://orders.example/orders -c billing.affiant.json
    affiant call https://orders.example/orders -d @order.json -H 'Content-Type: application/json' -v

    Where the credentials file names a certificate, the API is shown it: the token may be bound to it (RFC 8705).
    """
    method = options["method"] or ("GET" if options["body"] is None else "POST")
    if not METHOD.fullmatch(method):
        raise click.ClickException(f"{method!r} is not an HTTP method: write it like -X POST")
    headers, body = read_headers(options["headers"]), read_body(options["body"])
    found = find(credentials, resource, scope)
    # The person names the URL here, so the token goes there and nowhere else.
    if options["dpop"]:
        from affiant.client.identity import Service

        auth = Service.from_credentials(found, dpop=True).auth(resource, scope, origin=url)
    else:
        auth = make_auth(KeptTokens(found, keep=not options["no_cache"]), TokenKey(resource, scope), origin=url)
    hooks = shown_on_stderr() if options["verbose"] else None
    with (
        _failures(url),
        http_client(auth=auth, verify=_verify(found), event_hooks=hooks, follow_redirects=False) as http,
    ):
        reply = http.request(method, url, content=body, headers=headers)
    if not options["as_json"] or not reply.is_error:
        show({"status": reply.status_code, "body": reply.text}, reply.text, as_json=options["as_json"])
    if reply.is_error:
        challenge = reply.headers.get("www-authenticate", "")
        message = f"{url} answered {reply.status_code} {printable(challenge, _LONGEST)}".rstrip()
        raise Answered(message, {"status": reply.status_code, "www_authenticate": challenge, "body": reply.text})


def _verify(found: Credentials) -> ssl.SSLContext | bool:
    """How the API is reached over TLS: with the certificate of these credentials, where they name one."""
    if found.certificate is None:
        return True
    from affiant.client.identity import Service

    return Service.from_credentials(found).tls()


@contextmanager
def _failures(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
        raise click.ClickException(f"{url!r} cannot be called: {error}") from None
    except httpx2.TransportError as error:
        raise Unreachable(failure(error, url, proxy=find_proxy(url))) from None
    except httpx2.RequestError as error:
        raise RemoteError(f"{url} answered what cannot be read: {error}") from None
