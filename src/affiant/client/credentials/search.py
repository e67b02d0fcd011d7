"""Find the credentials of this process: the named ones, or those at the first place that has some.

Loads no cryptography.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from affiant.client.credentials import environment
from affiant.client.credentials import file as credentials_file
from affiant.client.credentials.file import ENVIRONMENT, GET_ONE, SUFFIX, Credentials
from affiant.errors import LocalError
from affiant.signers.forms.spelling import unwrap
from affiant.system.files import base_folder

DIRECTORY = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), of LoadCredential=
CONFIG = "XDG_CONFIG_HOME"
RUN_SECRETS = Path("/run/secrets")  # of Docker and Podman
NAMES = ("affiant", "affiant.json")
NOT_SET, ABSENT, NO_ACCESS = "not set", "absent", "no access"
FOUND, UNREADABLE, SKIPPED = "found", "cannot be used", "not looked at"

NOTHING = f"no credentials were found: name the file by -c FILE or in {ENVIRONMENT}, or get one: {GET_ONE}"


@dataclass(frozen=True, slots=True)
class Place:
    """A place where credentials may be, and what was seen there.

    Attributes:
        name: of the place: an option, a variable, or a folder.
        state: NOT_SET, ABSENT, NO_ACCESS, FOUND, UNREADABLE or SKIPPED.
        file: the file that was found.
        why: it cannot be read.
    """

    name: str
    state: str = FOUND
    file: Path | None = None
    why: str = ""
    load: Callable[[], Credentials] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Search:
    """The places in their order, and the credentials of the first that has some, or what is wrong with them."""

    places: tuple[Place, ...]
    found: Credentials | None = field(repr=False)
    error: LocalError | None


def find(path: str | Path | None = None) -> Credentials:
    """Return the credentials that the argument names (a path, or the JSON itself), or the first that are found.

    Raises:
        LocalError: there are none, or they cannot be used.
    """
    done = look(path)
    if done.error is not None:
        raise done.error
    if done.found is None:
        raise explained(LocalError(NOTHING), done.places)
    return done.found


def explained(error: LocalError, places: tuple[Place, ...]) -> LocalError:
    """Return the error, with a note about what was seen at each place."""
    for place in places:
        error.add_note(f"  {place.name}  {place.state}")
    return error


def look(path: str | Path | None = None) -> Search:
    """Look at each place until one has credentials. Broken ones end the search: another client would be used."""
    places: list[Place] = []
    found, error = None, None
    for place in _places(path):
        if found is not None or error is not None:
            places.append(replace(place, state=SKIPPED, file=None, why=""))
            continue
        if place.state == FOUND and place.load is not None:
            try:
                found = place.load()
            except LocalError as failure:
                error = failure
                place = replace(place, state=UNREADABLE, why=str(failure))  # noqa: PLW2901 - the same place, looked at
        places.append(place)
    return Search(tuple(places), found, error)


def find_file(path: str | Path | None = None) -> Path | None:
    """Return the file that has the credentials, or None if they are in the environment, or nowhere."""
    return next((place.file for place in look(path).places if place.state == FOUND), None)


def name_of(path: str | Path | None = None) -> str:
    """Return the name for messages: the file, or the variable if that has the credentials; empty if there are none."""
    place = next((place for place in look(path).places if place.state in (FOUND, UNREADABLE)), None)
    return "" if place is None else str(place.file or place.name)


def _places(given: str | Path | None) -> Iterator[Place]:
    if given is not None:
        yield _named("the argument", str(given))
        return
    variables = environment.given()
    # A secret store or an env file may add quotation marks, or encode the text in base64.
    named = unwrap(os.environ.get(ENVIRONMENT, ""))
    if named and variables:
        conflict = f"{ENVIRONMENT} and {variables[0]} are both set: unset one, or name the file with --credentials"
        yield Place(ENVIRONMENT, load=partial(_fail, conflict))
    else:
        yield _named(ENVIRONMENT, named) if named else Place(ENVIRONMENT, NOT_SET)
    who = f"{environment.CLIENT_ID} and {environment.KEY} or {environment.SECRET}"
    yield Place(who, load=environment.read) if variables else Place(who, NOT_SET)
    folder = os.environ.get(DIRECTORY, "")
    yield _in_folder(f"${DIRECTORY}", Path(folder)) if folder else Place(f"${DIRECTORY}", NOT_SET)
    yield _in_folder(str(RUN_SECRETS), RUN_SECRETS)
    yield _in_config()


def _named(name: str, value: str) -> Place:
    if not value:
        return Place(name, load=partial(_fail, "the name of the credentials file is empty: is a variable not set?"))
    if value.lstrip().startswith("{"):
        return Place(name, load=partial(credentials_file.parse, value, name=ENVIRONMENT))
    return Place(name, file=Path(value), load=partial(credentials_file.read, Path(value)))


def _in_folder(name: str, folder: Path) -> Place:
    name = f"{name}/{' or '.join(NAMES)}"
    for path in (folder / one for one in NAMES):
        try:
            if path.is_file():
                return Place(name, file=path, load=partial(credentials_file.read, path))
        except OSError:  # a folder that this user may not enter was made for another
            return Place(name, NO_ACCESS)
    return Place(name, ABSENT)


def _in_config() -> Place:
    base = base_folder(CONFIG, ".config")
    if base is None:
        return Place(f"${CONFIG}", NOT_SET)
    folder = base / "affiant"
    name = f"{folder}/*{SUFFIX}"
    files: list[Path] = []
    with suppress(OSError):
        files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX) and path.name[0] != ".")
    if not files:
        return Place(name, ABSENT)
    if len(files) > 1:
        listed = ", ".join(path.name for path in files)
        several = (
            f"{folder} has {len(files)} credentials files ({listed}): name one with --credentials or {ENVIRONMENT}"
        )
        return Place(name, load=partial(_fail, several))
    return Place(name, file=files[0], load=partial(credentials_file.read, files[0]))


def _fail(why: str) -> Credentials:
    raise LocalError(why)
