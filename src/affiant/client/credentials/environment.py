"""Credentials in the variables of the environment, one for each part: AFFIANT_CLIENT_ID and the like."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from affiant.client.credentials.file import Credentials
from affiant.errors import ConfigError, LocalError
from affiant.oauth import names
from affiant.signers import password, sources
from affiant.signers.forms.key_files import find_client_id
from affiant.system.files import read_secret

ISSUER, CLIENT_ID, KEY = "AFFIANT_ISSUER", "AFFIANT_CLIENT_ID", sources.VARIABLE
SECRET, SECRET_FILE = "AFFIANT_CLIENT_SECRET", "AFFIANT_CLIENT_SECRET_FILE"
_MORE = {  # optional
    "auth_method": "AFFIANT_AUTH_METHOD",
    "alg": "AFFIANT_ALG",
    "kid": "AFFIANT_KID",
    "scope": "AFFIANT_SCOPE",
    "resource": "AFFIANT_RESOURCE",
}

# Every variable and its meaning, for the reference.
MEANINGS = {
    CLIENT_ID: "of clients: the `client_id`; AFFIANT_ISSUER names the server",
    KEY: "of clients: the private key, or its place: `file:PATH`, `env:NAME`, `keyring:SERVICE/USER`, `awskms:...`",
    SECRET: "of clients: the client secret, instead of a key",
    SECRET_FILE: "of clients: a file with the client secret",
    _MORE["auth_method"]: "of clients: how the secret is sent; `client_secret_basic` if not set",
    _MORE["alg"]: "of clients: the algorithm, if the key names none",
    _MORE["kid"]: "of clients: the `kid` of the key at the server",
    _MORE["scope"]: "of clients: the scope to request where a call names none",
    _MORE["resource"]: "of clients: the API to request where a call names none",
    password.VARIABLE: "of clients: the password of an encrypted private key",
    password.FILE_VARIABLE: "of clients: a file with that password",
}


def given() -> list[str]:
    """Return the set variables that make a client of this process; AFFIANT_ISSUER alone may be meant for a server."""
    return [name for name in (CLIENT_ID, KEY, SECRET, SECRET_FILE) if os.environ.get(name)]


def read() -> Credentials:
    """Return the credentials that the variables hold.

    Raises:
        LocalError: one is missing, or two contradict each other.
    """
    credential = [name for name in given() if name != CLIENT_ID]
    if len(credential) != 1:
        have = f"{' and '.join(credential)} are set: unset all but one" if credential else "none is set"
        raise LocalError(f"a client needs one of {KEY}, {SECRET} and {SECRET_FILE}, and {have}")
    key = os.environ.get(KEY) or None
    members: dict[str, Any] = {
        name: os.environ[variable] for name, variable in _MORE.items() if os.environ.get(variable)
    }
    members.setdefault("auth_method", names.PRIVATE_KEY_JWT if key else names.CLIENT_SECRET_BASIC)
    client_id = os.environ.get(CLIENT_ID) or (_client_id_of(key) if key else None)
    for name, value in ((ISSUER, os.environ.get(ISSUER)), (CLIENT_ID, client_id)):
        if not value:
            raise LocalError(f"{credential[0]} is set, and {name} is not: set it too")
    secret = None if key else os.environ.get(SECRET) or _read_secret(os.environ[SECRET_FILE])
    return Credentials(os.environ[ISSUER], str(client_id), client_secret=secret, key_text=key, **members)


def check_issuer(issuer: str) -> None:
    """Raise LocalError if AFFIANT_ISSUER names another server than the credentials that were found."""
    named = os.environ.get(ISSUER)
    if named and named != issuer:
        raise LocalError(f"{ISSUER} names {named}, and the credentials are for {issuer}: unset it, or name others")


def _client_id_of(key: str) -> str | None:
    """Return the client_id that a key file of Google or ZITADEL has."""
    scheme, _ = sources.split(key)
    if scheme not in ("", *sources.SOURCES):  # a device or a KMS
        return None
    return find_client_id(sources.read_text(key))


def _read_secret(file: str) -> str:
    try:
        return read_secret(Path(file), what="the client secret", variable=SECRET).decode()
    except ConfigError as error:
        raise LocalError(f"{SECRET_FILE}: {error}") from error.__cause__
    except UnicodeDecodeError:
        raise LocalError(f"{SECRET_FILE}: the file is not UTF-8") from None
