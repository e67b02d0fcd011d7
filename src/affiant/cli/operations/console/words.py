"""Lines and tables of users, passkeys and sessions."""

from __future__ import annotations

from typing import Any

from affiant.cli.output import Listing, instant

_SHORT = 12  # characters of an id, which is enough to name it


def user_line(found: dict[str, Any]) -> str:
    state = "" if found["enabled"] else "disabled"
    return "  ".join(filter(None, (found["name"], found["role"], " ".join(found["teams"]), state)))


def _user_cells(found: dict[str, Any]) -> tuple[object, ...]:
    state = "enabled" if found["enabled"] else "disabled"
    return found["name"], found["role"], " ".join(found["teams"]), state, instant(found["created_at"])


def _session_cells(found: dict[str, Any]) -> tuple[object, ...]:
    by = "passkey" if found["passkey"] else "link"
    times = (instant(found[name]) for name in ("created_at", "last_at", "expires_at"))
    return found["id"][:_SHORT], found["user"], by, *times, found["address"], found["agent"]


def _passkey_cells(found: dict[str, Any]) -> tuple[object, ...]:
    used = instant(found["last_used_at"]) if found["last_used_at"] else "never"
    return found["id"][:_SHORT], found["label"], instant(found["created_at"]), used


USERS = Listing(
    ("USER", "ROLE", "TEAMS", "STATE", "SINCE"), _user_cells, user_line, "no users: affiant console link NAME"
)
SESSIONS = Listing(
    ("SESSION", "USER", "BY", "SINCE", "LAST REQUEST", "UNTIL", "ADDRESS", "BROWSER"),
    _session_cells,
    lambda found: "  ".join(map(str, _session_cells(found))),
    "no sessions",
)
PASSKEYS = Listing(
    ("PASSKEY", "LABEL", "SINCE", "LAST USED"),
    _passkey_cells,
    lambda found: "  ".join(map(str, _passkey_cells(found))),
    "no passkeys: the user makes one in the console",
)
