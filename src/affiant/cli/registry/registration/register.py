"""`affiant register`."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx2

from affiant.cli.arguments import FILE
from affiant.cli.output import json_option, show
from affiant.cli.registry.handover import delivery, draft
from affiant.cli.registry.handover.draft import Draft
from affiant.client.credentials import registration
from affiant.client.credentials.file import Credentials, file_name
from affiant.client.credentials.registration import Registration
from affiant.client.credentials.rotation import alone
from affiant.client.protocol import transport
from affiant.errors import ConfigError, Error, LocalError, Refused
from affiant.jose import keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.keys import PrivateKey
from affiant.oauth import names
from affiant.system import network

ENVIRONMENT = "AFFIANT_INITIAL_ACCESS_TOKEN"
NAME = "service"
_LONGEST = 8192  # bytes
_UNAUTHORIZED = 401

alg_option = click.option(
    "--alg", type=click.Choice(ASYMMETRIC), default="ES256", metavar="ALG", help="of its key (default: ES256)"
)


@click.command()
@click.argument("issuer", required=False)
@click.argument("name", default=NAME)
@click.option(
    "--initial-access-token-file",
    "token_file",
    metavar="FILE",
    help=f"the file of the initial access token, - for standard input (default: {ENVIRONMENT})",
)
@click.option("--scope", multiple=True, metavar="S", help="a scope it wants to ask for (default: all it may)")
@click.option("--resource", metavar="URL", help="the API that it asks for by default")
@alg_option
@click.option("--remove", is_flag=True, help="cancel the registration of --credentials, and delete that file")
@click.option("-c", "--credentials", type=FILE, help="with --remove: the credentials file")
@json_option()
def register(
    issuer: str | None, name: str, remove: bool, credentials: Path | None, token_file: str | None, **wanted: Any
) -> None:
    """ISSUER is the server. The credentials file is NAME.affiant.json.

    \b
    affiant register https://as.example billing --initial-access-token-file billing.invitation
    affiant register --remove -c billing.affiant.json

    By RFC 7591, so ISSUER may be any server that accepts an initial access token and private_key_jwt; for affiant's
    own, an operator makes one with  affiant invitation new. The key is made here, and only its public half is sent.
    """
    if remove:
        if issuer is not None or credentials is None:
            raise click.UsageError("--remove takes the credentials file alone: affiant register --remove -c FILE")
        _remove(credentials)
        return
    if issuer is None or credentials is not None:
        raise click.UsageError("name the server: affiant register ISSUER [NAME]")
    register_here(issuer, name, _read_token(token_file), **wanted)


def register_here(
    issuer: str, name: str, token: str, *, scope: tuple[str, ...], resource: str | None, alg: str
) -> None:
    """Make a key, register it, and write the credentials file into this folder."""
    path = Path(file_name(name))
    left = draft.take(path)
    lost = left.ids if left is not None else ()  # kids that may be registered, with no file here
    made, token = keys.generate(alg), registration.check_token(token)
    begun = Draft(path, issuer, name, made.to_jwk(), ids=(*lost, made.kid))
    with network.http_client() as http:
        url = transport.run(registration.find_endpoint(issuer, clock=time.time), http)  # no key was sent so far
        begun.write()
        with _keeping(begun, lost):
            asking = registration.register(
                url,
                token,
                made.public(),
                clock=time.time,
                scope=" ".join(scope) or None,
                client_name=name if name != NAME else None,
            )
            found = transport.run(asking, http)
            _write(path, _credentials(issuer, found, made, resource), http)
    begun.remove()
    data = {"client_id": found.client_id, "issuer": issuer, "scope": found.scope, "credentials": str(path)}
    show(
        {**data, **({"lost_keys": list(lost)} if lost else {})},
        f"client {found.client_id}  at {issuer}",
        f"credentials {path}  (0600: keep it secret)",
        f"next: affiant token --credentials {path}",
        *_note_of_lost(lost, issuer),
    )


def _note_of_lost(lost: tuple[str, ...], issuer: str) -> list[str]:
    note = (
        f"a run that was stopped may have registered another client, with the key {', '.join(lost)}, which is lost:"
        f" let an operator of {issuer} remove it (affiant client list --json, affiant client remove)"
    )
    return [note] if lost else []


@contextlib.contextmanager
def _keeping(begun: Draft, lost: tuple[str, ...]) -> Iterator[None]:
    """Remove the draft of a failed registration, unless the server may have made the client."""
    try:
        yield
    except Error as error:
        is_certain = delivery.is_certain(error)
        if isinstance(error, Refused) and error.status == _UNAUTHORIZED:
            error.add_note("it was used, revoked, or has expired: ask an operator for another (affiant invitation new)")
        if is_certain and not lost:
            begun.remove()
        for note in _note_of_lost(lost if is_certain else begun.ids, begun.issuer):
            error.add_note(note)
        raise


def _credentials(issuer: str, found: Registration, made: PrivateKey, resource: str | None) -> Credentials:
    return Credentials(
        issuer=issuer,
        client_id=found.client_id,
        auth_method=names.PRIVATE_KEY_JWT,
        alg=made.alg,
        kid=made.kid,
        key=made.to_jwk(),
        scope=found.scope,
        resource=resource,
        registration_client_uri=found.uri,
        registration_access_token=found.token,
    )


def _write(path: Path, made: Credentials, http: httpx2.Client) -> None:
    """Write the file; if that fails, cancel the registration, since its key is lost."""
    try:
        made.write(path)
    except ConfigError as failure:
        try:
            _cancel(made, http)
        except Error as error:
            failure.add_note(delivery.left_behind(made.client_id, error, "an operator removes it"))
        raise


def _cancel(made: Credentials, http: httpx2.Client) -> None:
    uri, token = made.registration_client_uri, made.registration_access_token
    if uri is None or token is None:
        raise LocalError(f"{made.issuer} does not let a client cancel its registration")
    transport.run(registration.deregister(uri, token, clock=time.time), http)


def _remove(path: Path) -> None:
    with alone(path) as (file, found):
        if found.registration_client_uri is None or found.registration_access_token is None:
            raise LocalError(
                f"{path} is of a client that did not register itself: an operator removes it (affiant client remove)"
            )
        with network.http_client() as http:
            _cancel(found, http)
        file.unlink()
    show({"client_id": found.client_id, "done": "remove"}, f"removed {found.client_id} at {found.issuer}, and {path}")


def _read_token(named: str | None) -> str:
    """Read it from a file, standard input or the environment: other users of this machine see the arguments."""
    if named is None:
        text = os.environ.get(ENVIRONMENT, "")
        if not text:
            raise LocalError(
                f"no initial access token: name its file with --initial-access-token-file, or {ENVIRONMENT}"
            )
        return text.strip()
    return read_given(named, what="the initial access token")


def read_given(named: str, *, what: str) -> str:
    """Return the text of a file, or of standard input for "-"."""
    try:
        raw = sys.stdin.buffer.read(_LONGEST) if named == "-" else _head(Path(named))
    except OSError as error:
        raise LocalError(f"{what} in {named} cannot be read: {error.strerror}") from error
    return raw.decode("utf-8", "replace").strip()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST)
