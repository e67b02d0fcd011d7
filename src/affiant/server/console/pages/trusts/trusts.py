"""Trusts: their rules, their keys, the tokens that were refused, and a token judged before a job sends it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from affiant.server.admin.roles import Role
from affiant.server.console.actions.trusts.changing import RULE_ROWS, TRUST_ROWS
from affiant.server.console.api import Ask, at
from affiant.server.console.pages.page import page
from affiant.server.console.show.records import exports, members
from affiant.server.console.view import View
from affiant.server.registry.federation.fields import option_values
from affiant.server.registry.federation.platforms.adding import jobs, plan
from affiant.server.registry.federation.platforms.table import PLATFORMS
from affiant.server.request.http import Answer

_MOST = 1000
_TABS = ("", "keys", "test", "settings", "new-rule")


@page("/trusts")
async def show_trusts(view: View) -> Answer:
    if exports.is_wanted(view):
        return await exports.stream(view, "/trusts", "trusts")
    if view.query.text("tab") == "refused":
        return view.show("trusts/refused.html", refused=await view.api.get("/refused-tokens"))
    trusts = (await view.api.get("/trusts", limit=_MOST))["items"]
    rules = Counter(rule["trust"] for rule in (await view.api.get("/rules", limit=_MOST))["items"])
    return view.show("trusts/list.html", trusts=trusts, rules=rules, platforms=PLATFORMS)


@page("/trusts/{name}")
async def show_trust(view: View, name: str) -> Answer:
    found = await view.api.read(at("/trusts/{}", name))
    tab = view.query.text("tab")
    return view.show(
        "trusts/trust.html",
        trust=found.document,
        etag=found.etag,
        platform=PLATFORMS.get(found.document["preset"], PLATFORMS["generic"]),
        tab=tab if tab in _TABS else "",
        may_try=view.visitor.role is not Role.VIEWER,
        **await _tab(view, found.document, tab),
    )


async def _tab(view: View, trust: dict[str, Any], tab: str) -> dict[str, Any]:
    """Return what this tab shows; that of the keys fetches them."""
    if tab == "keys":
        return {"found": await view.api.get(at("/trusts/{}/keys", trust["name"]))}
    if tab == "settings":
        return {"fields": members.fields(TRUST_ROWS, trust)}
    if tab == "new-rule":
        return {"fields": members.fields(RULE_ROWS)}
    if tab == "test":
        return {}
    rules = (await view.api.get("/rules", trust=trust["name"], limit=_MOST))["items"]
    return {
        "rules": [(rule, option_values(rule["conditions"])) for rule in rules],
        "job": "\n".join(jobs.lines(trust["preset"], view.issuer, plan.audiences(trust, view.issuer)[0])),
        "refuses": option_values(trust["refuses"]),
    }


@page("/trusts/{name}/tested", method="POST")
async def test_token(view: View, name: str) -> Answer:
    """By POST: the token is a credential. It is judged, and kept nowhere."""
    token = view.form.text("token").removeprefix("Bearer ")
    asked = Ask("POST", "/explain", {"request": token, "trust": name})
    return view.show("trusts/tested.html", name=name, judged=(await view.api.send(asked)).document)


@page("/rules/{name}")
async def show_rule(view: View, name: str) -> Answer:
    found = await view.api.read(at("/rules/{}", name))
    return view.show(
        "trusts/rule.html",
        rule=found.document,
        etag=found.etag,
        words=plan.in_words(found.document),
        fields=members.fields(RULE_ROWS, found.document),
    )
