"""The setup of a new server: issuer, API, client, first token. It goes on where what is registered ends."""

from affiant.oauth.metadata import openid_url, well_known_url
from affiant.server.admin.roles import Role
from affiant.server.console.api import at
from affiant.server.console.pages.home import first
from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request.http import Answer
from affiant.system.urls import is_safe_url


@page("/setup")
async def show_setup(view: View) -> Answer:
    issuer = view.issuer
    urls = {
        "Token endpoint": f"{issuer}/token",
        "Metadata (RFC 8414)": well_known_url(issuer),
        "Metadata (OpenID Connect)": openid_url(issuer),
        "Public keys": f"{issuer}/jwks",
    }
    return view.show(
        "home/setup.html",
        first=await first.find(view.api, issuer),
        urls=urls,
        is_safe=is_safe_url(issuer),
        passkeys=await view.api.get(at("/users/{}/passkeys", view.visitor.name)),
        may_change=view.visitor.role is Role.OWNER,
    )
