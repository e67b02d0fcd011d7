"""The first page."""

from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request.http import Answer


@page("/")
async def show_overview(view: View) -> Answer:
    return view.show("overview.html")
