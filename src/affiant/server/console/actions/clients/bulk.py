"""Change all ticked clients: one request for each, and what became of each is shown."""

from __future__ import annotations

import contextlib

from affiant.errors import ConfigError
from affiant.server.console.actions.action import action
from affiant.server.console.actions.clients import figures
from affiant.server.console.actions.clients.state import CLIENT
from affiant.server.console.api import Api, Ask, Refusal, at
from affiant.server.console.view import Form
from affiant.server.registry import kinds

_MOST = 200  # clients of one action


@action("clients.change", "Change the ticked clients", is_each=True)
async def change(api: Api, form: Form) -> list[Ask]:
    names, what, label = _ticked(form), form.text("do"), form.text("label")
    if what in ("disable", "enable"):
        return [Ask("PATCH", at(CLIENT, name), {"enabled": what == "enable"}) for name in names]
    if what not in ("label", "unlabel"):
        raise ConfigError("choose what to do with the ticked clients")
    kinds.read("labels", kinds.LABELS, [label])
    asks = []
    for name in names:
        found = await api.read(at(CLIENT, name))
        others = [one for one in found.document["labels"] if one != label]
        wanted = {"labels": [*others, label] if what == "label" else others}
        asks.append(Ask("PATCH", at(CLIENT, name), wanted, found.etag))
    return asks


@change.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    names = _ticked(form)
    if form.text("do") != "disable":
        return []
    said = [f"{len(names)} clients get no more tokens, and those that they have end within two seconds."]
    for name in names[:10]:
        with contextlib.suppress(Refusal):  # it is gone, as the results will say
            said.append((await figures.last_hour(api, name)).said(f"{name} got a token"))
    return [*said, "You can enable them again; they then have to ask for new tokens."]


def _ticked(form: Form) -> list[str]:
    names = form.words("client_id")
    if not 0 < len(names) <= _MOST:
        raise ConfigError(f"tick 1 to {_MOST} clients" if names else "tick at least one client")
    return names
