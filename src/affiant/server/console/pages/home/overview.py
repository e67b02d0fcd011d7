"""The overview: what the server does now, and what needs attention."""

from affiant.server.admin.roles import Role
from affiant.server.console.actions.action import see_other
from affiant.server.console.pages.home import first
from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request.http import Answer


@page("/")
async def show_overview(view: View) -> Answer:
    found = await first.find(view.api, view.issuer)
    if view.visitor.role is Role.OWNER and not found.is_set_up:
        return see_other(f"{view.base}/setup")
    return view.show("home/overview.html", first=found)
