"""`affiant register`: this machine registers itself."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affiant.cli.output import json_option, show
from affiant.cli.registry.handover import delivery, draft
from affiant.cli.registry.handover.draft import Draft
from affiant.client import registration, transport
from affiant.client.credentials import Credentials, file_name
from affiant.client.keys import alone
from affiant.client.registration import Registration
from affiant.errors import ConfigError, Error, LocalError
from affiant.jose import keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.keys import PrivateKey
from affiant.oauth import names
from affiant.system import network

if TYPE_CHECKING:
    import httpx2

ENVIRONMENT = "AFFIANT_INITIAL_ACCESS_TOKEN"
_LONGEST = 8192  # bytes
_FILE = click.Path(path_type=Path, dir_okay=False, readable=False)


@click.command()
@click.argument("issuer", required=False)
@click.argument("name", default="service")
@click.option(
    "--initial-access-token-file",
    "token_file",
    metavar="FILE",
    help=f"the file of the initial access token, - for standard input (default: {ENVIRONMENT})",
)
@click.option("--scope", multiple=True, metavar="S", help="a scope it wants to ask for; all it may when left out")
@click.option("--resource", metavar="URL", help="the API that it asks for when a command names none")
@click.option(
    "--alg", type=click.Choice(ASYMMETRIC), default="ES256", metavar="ALG", help="of its key (default: ES256)"
)
@click.option("--remove", is_flag=True, help="take the registration of --credentials back, and delete that file")
@click.option("-c", "--credentials", type=_FILE, help="with --remove: the credentials file")
@json_option
def register(
    issuer: str | None, name: str, remove: bool, credentials: Path | None, as_json: bool, **wanted: Any
) -> None:
    """Register this machine at the server ISSUER, and write its credentials file NAME.affiant.json.

    \b
    affiant register https://as.example billing --initial-access-token-file billing.invitation
    affiant register --remove -c billing.affiant.json

    By RFC 7591, so ISSUER may be any server that takes an initial access token and private_key_jwt; for affiant's own,
    an operator makes one with  affiant invitation new. The key is made here, and only its public half is sent.
    """
    if remove:
        if issuer is not None or credentials is None:
            raise click.UsageError("--remove takes the credentials file alone: affiant register --remove -c FILE")
        _remove(credentials, as_json=as_json)
        return
    if issuer is None or credentials is not None:
        raise click.UsageError("name the server: affiant register ISSUER [NAME]")
    _register(issuer, name, as_json=as_json, **wanted)


def _register(
    issuer: str,
    name: str,
    *,
    token_file: str | None,
    scope: tuple[str, ...],
    resource: str | None,
    alg: str,
    as_json: bool,
) -> None:
    path = Path(file_name(name))
    left = draft.take(path)
    lost = left.ids if left is not None else ()  # kids that may be registered at the server, with no file here
    made, token = keys.generate(alg), registration.check_token(_read_token(token_file))
    begun = Draft(path, issuer, name, made.to_jwk(), ids=(*lost, made.kid))
    with _http() as http:
        url = transport.run(registration.find_endpoint(issuer, clock=time.time), http)  # no key was sent so far
        begun.write()
        with _heeding(begun, lost):
            asked = " ".join(scope) or None
            asking = registration.register(
                url, token, made.public(), clock=time.time, scope=asked, client_name=_name(name)
            )
            found = transport.run(asking, http)
            _write(path, _credentials(issuer, found, made, resource), http)
    begun.remove()
    lines = [
        f"client {found.client_id}  at {issuer}",
        f"credentials {path}  (0600: keep it secret)",
        f"next: affiant token --credentials {path}",
    ]
    lines += _of_lost(lost, issuer)
    data: dict[str, Any] = {
        "client_id": found.client_id,
        "issuer": issuer,
        "scope": found.scope,
        "credentials": str(path),
    }
    data |= {"lost_keys": list(lost)} if lost else {}
    show(data, "\n".join(lines), as_json=as_json)


def _of_lost(lost: tuple[str, ...], issuer: str) -> list[str]:
    told = (
        f"a run that was stopped may have registered another client, with the key {', '.join(lost)}: its key is lost,"
        f" and an operator of {issuer} removes it (affiant client list --json, affiant client remove)"
    )
    return [told] if lost else []


@contextlib.contextmanager
def _heeding(begun: Draft, lost: tuple[str, ...]) -> Iterator[None]:
    """Remove the draft of a failed registration, unless the server may have made the client."""
    try:
        yield
    except Error as error:
        is_certain = delivery.is_certain(error)
        if is_certain and not lost:
            begun.remove()
        for note in _of_lost(lost if is_certain else begun.ids, begun.issuer):
            error.add_note(note)
        raise


def _name(name: str) -> str | None:
    return name if name != "service" else None


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
    """Write the file; if that fails, take the registration back, since its key is lost."""
    try:
        made.write(path)
    except ConfigError as failure:
        try:
            _take_back(made, http)
        except Error as error:
            failure.add_note(delivery.left_behind(made.client_id, error, "an operator removes it"))
        raise


def _take_back(made: Credentials, http: httpx2.Client) -> None:
    uri, token = made.registration_client_uri, made.registration_access_token
    if uri is None or token is None:
        raise LocalError(f"{made.issuer} lets no client take its registration back")
    transport.run(registration.deregister(uri, token, clock=time.time), http)


def _remove(path: Path, *, as_json: bool) -> None:
    with alone(path) as (file, found):
        if found.registration_client_uri is None or found.registration_access_token is None:
            raise LocalError(
                f"{path} is of a client that did not register itself: an operator removes it (affiant client remove)"
            )
        with _http() as http:
            _take_back(found, http)
        file.unlink()
    show(
        {"client_id": found.client_id, "done": "remove"},
        f"removed {found.client_id} at {found.issuer}, and {path}",
        as_json=as_json,
    )


def _read_token(named: str | None) -> str:
    """From a file, standard input or the environment: never from the arguments, which others on this machine see."""
    if named is None:
        text = os.environ.get(ENVIRONMENT, "")
        if not text:
            raise LocalError(
                f"no initial access token: name its file with --initial-access-token-file, or {ENVIRONMENT}"
            )
        return text.strip()
    try:
        raw = sys.stdin.buffer.read(_LONGEST) if named == "-" else _head(Path(named))
    except OSError as error:
        raise LocalError(f"the initial access token in {named} cannot be read: {error.strerror}") from error
    return raw.decode("utf-8", "replace").strip()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST)


def _http() -> httpx2.Client:
    return network.http_client()
