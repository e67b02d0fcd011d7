"""Options for the credentials of a client, and the scope and API of a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.arguments import FILE
from affiant.client.credentials import search
from affiant.client.credentials.file import Credentials
from affiant.errors import LocalError
from affiant.oauth import names

if TYPE_CHECKING:  # it loads cryptography, which a kept token does not need
    from affiant.client.identity import Service

credentials_option: Callable[[Any], Any] = click.option(
    "-c",
    "--credentials",
    type=FILE,
    help="credentials file (default: what `affiant who` finds)",
)
scope_option: Callable[[Any], Any] = click.option("--scope", help="scopes to ask for, separated by spaces")
resource_option: Callable[[Any], Any] = click.option("--resource", metavar="URL", help="the API to ask for")


def find(credentials: Path | Credentials | None, resource: str | None = None, scope: str | None = None) -> Credentials:
    """Return the credentials that -c or AFFIANT_CREDENTIALS name, with the certificate that they need (RFC 8705).

    Without a wanted scope, the scope of the file is used only for the API of the file: for another API the server
    chooses, because the scope of the file spans all APIs.
    """
    found = _find(credentials)
    if found.certificate is None and (found.auth_method in names.BY_TLS or found.certificate_key is not None):
        raise LocalError(
            f'{_name_of(credentials)} names no certificate: add "certificate" and "certificate_key",'
            " the names of its PEM files"
        )
    if scope is None and resource not in (None, found.resource):
        return replace(found, scope=None)
    return found


def _find(credentials: Path | Credentials | None) -> Credentials:
    return credentials if isinstance(credentials, Credentials) else search.find(credentials)


def _name_of(credentials: Path | Credentials | None) -> str:
    return "--from" if isinstance(credentials, Credentials) else search.name_of(credentials)


def open_service(
    credentials: Path | Credentials | None, resource: str | None, scope: str | None, *, dpop: bool = False
) -> Service:
    """Return the service for a process that runs for long: it reads a file whose key was rotated again."""
    from affiant.client.identity import Service

    found = find(credentials, resource, scope)
    # For another API than that of the file the scope of the file must not be sent, and only `found` lacks it.
    is_as_written = found == _find(credentials)
    return Service.from_credentials(credentials if is_as_written else found, dpop=dpop)
