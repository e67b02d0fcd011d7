"""The teams that own clients, APIs and trusts, and what they may grant."""

from __future__ import annotations

from collections import Counter

from affiant.server.admin.roles import Role
from affiant.server.console.api import at
from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_MOST = 200  # of one list


@page("/settings/teams")
async def show_teams(view: View) -> Answer:
    apis = (await view.api.get("/apis", limit=_MOST))["items"]
    return view.show(
        "settings/teams.html",
        teams=(await view.api.get("/teams", limit=_MOST))["items"],
        owned=Counter(api["team"] for api in apis),
        is_owner=view.visitor.role is Role.OWNER,
    )


@page("/settings/teams/{name}")
async def show_team(view: View, name: str) -> Answer:
    found = await view.api.read(at("/teams/{}", name))
    apis = (await view.api.get("/apis", limit=_MOST))["items"]
    # A visitor who is limited to teams sees no users.
    users = (await view.api.get("/users", limit=_MOST))["items"] if view.visitor.teams is None else []
    return view.show(
        "settings/team.html",
        team=found.document,
        etag=found.etag,
        apis=[api for api in apis if api["team"] == name],
        # A granted API that is not in the list stays ticked: the form sends all that are granted.
        others=sorted({api["identifier"] for api in apis if api["team"] != name} | {*found.document["resources"]}),
        users=[user for user in users if name in user["teams"]],
        is_owner=view.visitor.role is Role.OWNER,
    )
