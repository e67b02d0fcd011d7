"""The visitor's own passkeys and sessions."""

from affiant.server.console.api import at
from affiant.server.console.origins import Origins
from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request import http
from affiant.server.request.http import Answer

# The first that the User-Agent has: others are named in it for compatibility.
_BROWSERS = {"Edg/": "Edge", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
_SYSTEMS = {
    "Windows": "Windows",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Mac OS": "macOS",
    "Android": "Android",
    "Linux": "Linux",
}


@page("/account")
async def show_account(view: View) -> Answer:
    name = view.visitor.name
    return view.show(
        "signin/account.html",
        passkeys=await view.api.get(at("/users/{}/passkeys", name)),
        sessions=(await view.api.get("/sessions", user=name))["items"],
        obstacle=Origins(view.issuer).obstacle(view.scope),
        device=_device(view),
    )


def _device(view: View) -> str:
    """Return a name for a passkey on this device."""
    agent = b" ".join(http.header(view.scope, b"user-agent")).decode("latin-1")
    parts = [next((name for mark, name in table.items() if mark in agent), "") for table in (_BROWSERS, _SYSTEMS)]
    return " on ".join(filter(None, parts)) or "passkey"
