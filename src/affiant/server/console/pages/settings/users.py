"""The users of the console: who they are, their roles, their sessions."""

from __future__ import annotations

from collections import Counter
from typing import Any

from affiant.server.admin.roles import Role
from affiant.server.console.api import at
from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_MOST = 200  # of one list
_USERS = "Users of the console"
ROLES = {
    Role.VIEWER.value: "reads",
    Role.OPERATOR.value: "runs the service: disables, revokes, rotates, grants",
    Role.OWNER.value: "everything, and the users",
}


@page("/settings/users")
async def show_users(view: View) -> Answer:
    if view.visitor.teams is not None:
        return view.show("settings/limited.html", title=_USERS)
    sessions = (await view.api.get("/sessions", limit=_MOST))["items"]
    return view.show(
        "settings/users.html",
        users=(await view.api.get("/users", limit=_MOST))["items"],
        sessions=Counter(session["user"] for session in sessions),
        last_at=_last_at(sessions),
        teams=await _teams(view),
        roles=ROLES,
        is_owner=view.visitor.role is Role.OWNER,
    )


@page("/settings/users/{name}")
async def show_user(view: View, name: str) -> Answer:
    if view.visitor.teams is not None:
        return view.show("settings/limited.html", title=_USERS)
    found = await view.api.read(at("/users/{}", name))
    may_manage = view.visitor.role is Role.OWNER or view.visitor.name == name
    return view.show(
        "settings/user.html",
        user=found.document,
        etag=found.etag,
        passkeys=await view.api.get(at("/users/{}/passkeys", name)) if may_manage else [],
        sessions=(await view.api.get("/sessions", user=name, limit=_MOST))["items"] if may_manage else [],
        teams=await _teams(view),
        roles=ROLES,
        is_owner=view.visitor.role is Role.OWNER,
        may_manage=may_manage,
    )


async def _teams(view: View) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await view.api.get("/teams", limit=_MOST))["items"]
    return found


def _last_at(sessions: list[dict[str, Any]]) -> dict[str, int]:
    """Return when each user was last seen, of those who are signed in."""
    last = dict[str, int]()
    for session in sessions:
        last[session["user"]] = max(session["last_at"], last.get(session["user"], 0))
    return last
