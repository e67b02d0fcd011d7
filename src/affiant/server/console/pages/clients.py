"""Clients."""

from affiant.server.console.api import at
from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_PAGE = 50


@page("/clients")
async def show_clients(view: View) -> Answer:
    found = await view.api.get("/clients", limit=_PAGE, cursor=view.query.maybe("cursor"))
    return view.show("clients/list.html", clients=found["items"], following=found["next"])


@page("/clients/{client_id}")
async def show_client(view: View, client_id: str) -> Answer:
    found = await view.api.read(at("/clients/{}", client_id))
    return view.show("clients/client.html", client=found.document, etag=found.etag)
