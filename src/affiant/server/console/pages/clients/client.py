"""The page of a client: one tab at a time, each with what it needs alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from affiant.server.admin.roles import identifier
from affiant.server.console.actions.clients import figures, state
from affiant.server.console.api import Refusal, at
from affiant.server.console.pages.page import page
from affiant.server.console.show import history, plots, snippets
from affiant.server.console.show.history import Counts, Span, Window
from affiant.server.console.show.plots import Plot, Series
from affiant.server.console.show.records import members
from affiant.server.console.view import Form, View
from affiant.server.request.http import Answer

Client = dict[str, Any]
_CLIENT = "/clients/{}"
_EVENTS = 50
_MANY = 1000  # APIs
# The hours of a client are kept for two days, its days for 31.
SPANS = {"24h": Span("24 hours", "hour", 3600, 24), "30d": Span("30 days", "day", 86_400, 30)}


@page("/clients/{client_id}")
async def show_client(view: View, client_id: str) -> Answer:
    return await _show(view, client_id, view.query.text("tab"))


@state.change.shows_again
async def show_settings_again(view: View, refusal: Refusal) -> Answer:
    """Show the settings with a refusal, and what was typed."""
    return await _show(view, view.form.text("client_id"), "settings", refusal)


async def _show(view: View, client_id: str, tab: str, refusal: Refusal | None = None) -> Answer:
    found = await view.api.read(at(_CLIENT, client_id))
    tab = tab if tab in TABS else "overview"
    shown = await TABS[tab](view, found.document)
    return view.show(
        "clients/client.html",
        status=refusal.status if refusal is not None else 200,
        client=found.document,
        etag=found.etag,
        tab=tab,
        tabs=NAMES,
        refusal=refusal,
        **shown,
    )


async def _overview(view: View, client: Client) -> dict[str, Any]:
    name, span = client["client_id"], SPANS.get(view.query.text("span"), SPANS["24h"])
    window = Window.ending(view.now, span)
    counted = await view.api.get("/counts", unit=span.unit, client_id=name, since=window.since, until=window.until)
    counts = history.read(counted)
    return {
        "plot": _plot(counts, window, span),
        "plots": plots,
        "spans": SPANS,
        "span": span,
        "figures": await figures.last_hour(view.api, name),
        "limits": _limits(client),
    }


def _plot(counts: Counts, window: Window, span: Span) -> Plot:
    """Return the plot of issued tokens, and of refusals by their reasons."""
    issued, refused = history.of_kind(counts, history.ISSUED), history.of_kind(counts, history.REFUSED)
    reasons = [
        Series(reason, window.sums(history.of_kind(refused, history.REFUSED, reason)))
        for reason in history.labels(refused)
    ]
    return Plot(
        f"Tokens and refusals in {span.title}", window.marks(), [Series("issued", window.sums(issued)), *reasons]
    )


async def _credentials(view: View, client: Client) -> dict[str, Any]:
    held = await view.api.get(at(f"{_CLIENT}/keys", client["client_id"]))
    live = [key for key in held if key["state"] != "revoked"]
    # Only who asks for it has the set fetched.
    wants_fetch = client["jwks_uri"] is not None and view.query.flag("fetch")
    return {
        "fetched": await view.api.get(at(f"{_CLIENT}/fetched-keys", client["client_id"])) if wants_fetch else None,
        "live": live,
        "revoked": [key for key in held if key["state"] == "revoked"],
        "ends": {key["thumbprint"]: key["expires_at"] for key in client["keys"]},
        "old": [key for key in live if "safe_to_complete" in key],
        "newest": live[-1] if live else None,
        "secrets": [one for one in client["secrets"] if (one["expires_at"] or view.now + 1) > view.now],
        "day": await figures.used_in_a_day(view.api, client["client_id"]),
    }


async def _permissions(view: View, client: Client) -> dict[str, Any]:
    apis = (await view.api.get("/apis", limit=_MANY))["items"]
    resource = view.query.maybe("for") or (client["resources"] or [None])[0]
    known = {scope for api in apis for scope in api["scopes"]}
    return {
        "apis": apis,
        "admin": identifier(view.issuer),
        "resource": resource,
        "preview": await _preview(view, client["client_id"], resource),
        "unknown": [scope for scope in client["scope"] if scope not in known],
        "unknown_apis": sorted({*client["resources"]} - {api["identifier"] for api in apis}),
    }


async def _preview(view: View, client_id: str, resource: str | None) -> dict[str, Any]:
    try:
        found: dict[str, Any] = await view.api.get(at(f"{_CLIENT}/token-preview", client_id), resource=resource)
    except Refusal as refusal:  # the permissions can be changed although no token can be signed
        return {"refused": refusal.reason, "why": refusal.detail or refusal.title}
    return found


async def _use(view: View, client: Client) -> dict[str, Any]:
    apis = (await view.api.get("/apis", limit=_MANY))["items"]
    return {"snippets": snippets.build(client, view.issuer, apis)}


async def _events(view: View, client: Client) -> dict[str, Any]:
    """The requests of the client, or the changes of it: the audit log has them under different members."""
    name, is_changes = client["client_id"], view.query.text("of") == "changes"
    of = {"subject": f"client {name}"} if is_changes else {"client_id": name}
    found = await view.api.get("/audit", limit=_EVENTS, cursor=view.query.maybe("cursor"), **of)
    records = [one["record"] for one in found["items"]]
    return {"records": records, "following": found["next"], "is_changes": is_changes}


async def _settings(view: View, client: Client) -> dict[str, Any]:
    typed: Form | None = view.form if view.method == "POST" else None
    return {"inputs": members.fields(state.SETTINGS, client, typed)}


def _limits(client: Client) -> list[str]:
    """Return what limits the client's tokens, each as a sentence."""
    said = []
    if client["access_token_lifetime"]:
        said.append(f"its tokens live {client['access_token_lifetime']:,} s at most")
    if client["token_budget"]:
        then = "a token more is refused" if client["budget"] == "enforce" else "more is recorded, not refused"
        said.append(f"its budget is {client['token_budget']:,} tokens per hour: {then}")
    if client["dpop_bound_access_tokens"]:
        said.append("its tokens are bound to a key (DPoP)")
    if client["tls_client_certificate_bound_access_tokens"]:
        said.append("its tokens are bound to its certificate")
    if client["profile"]:
        said.append(f"the profile {client['profile']}")
    said += [f"the rule {rule} is observed, not enforced" for rule in client["observe"]]
    return said


NAMES = {
    "overview": "Overview",
    "credentials": "Credentials",
    "permissions": "Permissions",
    "use": "Use it",
    "events": "Events",
    "settings": "Settings",
}
TABS: dict[str, Callable[[View, Client], Awaitable[dict[str, Any]]]] = {
    "overview": _overview,
    "credentials": _credentials,
    "permissions": _permissions,
    "use": _use,
    "events": _events,
    "settings": _settings,
}
