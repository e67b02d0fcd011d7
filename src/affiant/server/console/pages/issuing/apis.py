"""APIs: what tokens are for, who may get them, how the API verifies them, and whether it does."""

from typing import Any

from affiant.oauth.parameters.scope import is_covered
from affiant.server.admin.roles import Role
from affiant.server.console.actions.issuing.apis import ROWS
from affiant.server.console.api import at
from affiant.server.console.pages.page import page
from affiant.server.console.show.guards import probing, protect
from affiant.server.console.show.records import exports, members
from affiant.server.console.view import View
from affiant.server.registry import fields
from affiant.server.request.http import Answer

_PAGE = 50
_HOLDERS = 100
_TABS = ("", "protect", "probe", "settings")


@page("/apis")
async def show_apis(view: View) -> Answer:
    if exports.is_wanted(view):
        return await exports.stream(view, "/apis", "apis")
    found = await view.api.get("/apis", limit=_PAGE, cursor=view.query.maybe("cursor"))
    return view.show("apis/list.html", apis=found["items"], following=found["next"])


@page("/new/api")
async def new_api(view: View) -> Answer:
    return view.show("apis/new.html", fields=members.fields(ROWS))


@page("/apis/{identifier}")
async def show_api(view: View, identifier: str) -> Answer:
    found = await view.api.read(at("/apis/{}", identifier))
    tab = view.query.text("tab")
    return view.show(
        "apis/api.html",
        api=found.document,
        etag=found.etag,
        tab=tab if tab in _TABS else "",
        is_owner=view.visitor.role is Role.OWNER,
        **await _tab(view, found.document, tab),
    )


async def _tab(view: View, api: dict[str, Any], tab: str) -> dict[str, Any]:
    """Return what this tab shows."""
    if tab == "protect":
        chosen = protect.choose(view.query.text("with"))
        return {"snippets": protect.snippets(), "chosen": chosen, "filled": protect.fill(chosen, view.issuer, api)}
    if tab == "probe":
        url, client_id, other = (view.query.text(name) for name in ("url", "client_id", "other"))
        return {"probe": probing.build(api, url, client_id or await _holder(view, api), other)}
    if tab == "settings":
        return {"fields": members.fields([fields.API.rows["name"], *ROWS], api)}
    grants = await view.api.get(
        "/grants", resource=api["identifier"], limit=_HOLDERS, cursor=view.query.maybe("cursor")
    )
    return {"following": grants["next"], "by_scope": _by_scope(api, grants["items"])}


async def _holder(view: View, api: dict[str, Any]) -> str:
    """Return a client that may ask for tokens of this API, or nothing."""
    grants = await view.api.get("/grants", resource=api["identifier"], limit=1)
    return str(grants["items"][0]["client_id"]) if grants["items"] else ""


def _by_scope(api: dict[str, Any], grants: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return each scope with the clients that hold it."""
    return [(scope, [one["client_id"] for one in grants if is_covered(scope, one["scope"])]) for scope in api["scopes"]]
