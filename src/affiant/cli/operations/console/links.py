"""Make a sign-in link, and the user for it."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from typing import Any

from affiant.cli.connection.admin import Admin, segment
from affiant.errors import ConfigError
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.users.rules import LINK_SECONDS
from affiant.server.registry import kinds
from affiant.storage.records import NotFound

_NO_LETTERS = re.compile(r"[^a-z0-9._-]+")


async def make(
    api: Admin, username: str, wanted: Mapping[str, Any], *, expires_in: int = LINK_SECONDS
) -> dict[str, Any]:
    """Make a link for this user, with these members if it is new: the first user is an owner, later ones viewers."""
    path = f"/users/{segment(username)}"
    try:
        _check_same(await api.get(path), wanted)
    except NotFound:
        is_first = not (await api.get("/users", limit=1))["items"]
        role = {"role": (Role.OWNER if is_first else Role.VIEWER).value}
        await api.post("/users", {"name": username, **role, **wanted})
    made: dict[str, Any] = await api.post(f"{path}/links", {"expires_in": expires_in})
    return made


def own_name() -> str | None:
    """Return the name of the OS user, as a user of the console can have it; None if it has none, as in containers."""
    try:
        text = _NO_LETTERS.sub("-", getpass.getuser().lower()).strip("._-")[:64].rstrip("._-")
        return kinds.NAME.parse(text)
    except (KeyError, OSError, ValueError):
        return None


def _check_same(found: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise ConfigError for a user that is not as the options say: a link changes no role."""
    name = found["name"]
    if not found["enabled"]:
        raise ConfigError(f"{name} is disabled: affiant console user enable {name}")
    for member, value in wanted.items():
        if found[member] != value:
            has = " ".join(found[member]) if isinstance(found[member], list) else found[member]
            raise ConfigError(f"{name} has {member} {has or 'none'}: affiant console user update {name} changes it")
