"""`affiant who`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from affiant.cli.output import json_option, show
from affiant.cli.tokens.options import credentials_option
from affiant.client.credentials import search
from affiant.client.credentials.file import Credentials
from affiant.client.credentials.search import Place
from affiant.errors import LocalError


@click.command()
@credentials_option
@json_option()
def who(credentials: Path | None) -> None:
    """Nothing is sent, and no key is shown.

    The first place that has credentials is used: -c, AFFIANT_CREDENTIALS, the variables AFFIANT_CLIENT_ID, AFFIANT_KEY
    and the like, $CREDENTIALS_DIRECTORY of systemd, /run/secrets, and $XDG_CONFIG_HOME/affiant (~/.config/affiant).
    Broken ones end the search.
    """
    done = search.look(credentials)
    found = done.found
    if found is None:
        raise search.explained(done.error or LocalError(search.NOTHING), done.places)
    try:
        key = _key(found)
    except LocalError as error:
        raise search.explained(error, done.places) from None
    place = next(place for place in done.places if place.state == search.FOUND)
    data = {
        "issuer": found.issuer,
        "client_id": found.client_id,
        "auth_method": found.auth_method,
        "key": key,
        "file": None if place.file is None else str(place.file),
        "place": place.name,
        "places": [_members(place) for place in done.places],
    }
    show(data, *_lines(found, key, place), *(f"  {_line(place)}" for place in done.places))


def _key(found: Credentials) -> dict[str, Any] | None:
    """Return the names of the key. One that is held elsewhere is not asked for."""
    from affiant.client.credentials import own_key
    from affiant.signers.local import find_local

    if found.signer is not None:  # the rest of its name may have a PIN
        return {"kid": found.kid, "alg": found.alg, "held_by": found.signer.partition(":")[0]}
    signer = own_key.load(found)
    key = find_local(signer) if signer is not None else None
    return None if key is None else {"kid": key.kid, "alg": key.alg, "thumbprint": key.public().thumbprint}


def _lines(found: Credentials, key: dict[str, Any] | None, place: Place) -> list[str]:
    named = " ".join(f"{name} {value}" for name, value in (key or {}).items() if value)
    return [
        f"{found.client_id} at {found.issuer}",
        f"  by    {found.auth_method}",
        *([f"  key   {named}"] if named else []),
        f"  from  {place.file or place.name}",
        "looked in:",
    ]


def _line(place: Place) -> str:
    detail = f": {place.why}" if place.why else f": {place.file}" if place.file is not None else ""
    return f"{place.name}  {place.state}{detail}"


def _members(place: Place) -> dict[str, str | None]:
    file = None if place.file is None else str(place.file)
    return {"place": place.name, "state": place.state, "file": file, "why": place.why or None}
