"""`affiant token`, `affiant assertion`, `affiant call`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.output import json_option, show
from affiant.client.identity import Service
from affiant.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

_CREDENTIALS: Callable[[Any], Any] = click.option(
    "-c",
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    help="credentials file (default: AFFIANT_CREDENTIALS)",
)
_SCOPE: Callable[[Any], Any] = click.option("--scope", help="scopes to ask for, separated by spaces")
_RESOURCE: Callable[[Any], Any] = click.option("--resource", metavar="URL", help="the API to ask for")


@click.command()
@_CREDENTIALS
@_SCOPE
@_RESOURCE
@click.option("--header", is_flag=True, help="print the whole Authorization header")
@json_option
def token(credentials: Path | None, scope: str | None, resource: str | None, header: bool, as_json: bool) -> None:
    """Print an access token.

    \b
    curl -H "Authorization: Bearer $(affiant token -c billing.affiant.json)" https://orders.example/orders
    """
    got = Service.from_credentials(credentials).token(resource, scope)
    data = {"access_token": got.value, "expires_at": int(got.expires_at), "scope": got.scope}
    if got.refresh_token:
        data["refresh_token"] = got.refresh_token
    show(data, f"Authorization: Bearer {got.value}" if header else got.value, as_json=as_json)


@click.command()
@_CREDENTIALS
@json_option
def assertion(credentials: Path | None, as_json: bool) -> None:
    """Print a signed client assertion; it is good once, for a minute."""
    made = Service.from_credentials(credentials).assertion()
    show({"client_assertion": made}, made, as_json=as_json)


@click.command()
@click.argument("url")
@_CREDENTIALS
@_SCOPE
@_RESOURCE
@click.option("-X", "--request", "method", default="GET", help="HTTP method")
@click.option("-d", "--body", help="body of the request")
@json_option
def call(url: str, credentials: Path | None, scope: str | None, resource: str | None, **options: Any) -> None:
    """Call an API with a token.

    \b
    affiant call https://orders.example/orders -c billing.affiant.json
    """
    import httpx2

    service = Service.from_credentials(credentials)
    # The person names the URL here, so the token goes there and nowhere else.
    auth = service.auth(resource, scope, origin=url)
    body = options["body"].encode() if options["body"] is not None else None
    try:
        reply = httpx2.request(options["method"], url, content=body, auth=auth, follow_redirects=False)
    except httpx2.TransportError as error:
        raise Unreachable(f"{url} cannot be reached ({error}): is it running, and is the address right?") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise click.UsageError(f"{url!r} is not a URL that can be called: {error}") from None
    show({"status": reply.status_code, "body": reply.text}, reply.text, as_json=options["as_json"])
    if reply.is_error:
        print(
            f"affiant: {url} answered {reply.status_code} {reply.headers.get('www-authenticate', '')}", file=sys.stderr
        )
        sys.exit(4)
