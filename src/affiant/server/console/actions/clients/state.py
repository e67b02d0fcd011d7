"""Change a client as a whole: enable, disable, remove, and its members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affiant.errors import ConfigError
from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.actions.clients import figures
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show.records import members
from affiant.server.console.view import Form
from affiant.server.registry import fields
from affiant.server.registry.fields import By

CLIENT = "/clients/{}"
# Members of the settings page; how it authenticates has a page of its own, and the state a button.
SETTINGS = [row for row in fields.CLIENT.by(By.CHANGE) if row.name not in ("enabled", "jwks_uri")]


@action("client.disable", "Disable the client")
async def disable(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(CLIENT, form.text("client_id")), {"enabled": False}, form.maybe(IF_MATCH))


@disable.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    name = form.text("client_id")
    return [
        f"{name} gets no more tokens, and every token that it has ends within two seconds.",
        await used(api, name),
        "You can enable it again; it then has to ask for new tokens.",
    ]


@action("client.enable", "Enable the client")
async def enable(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(CLIENT, form.text("client_id")), {"enabled": True}, form.maybe(IF_MATCH))


@action("client.remove", "Remove the client")
async def remove(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at(CLIENT, form.text("client_id")), None, form.maybe(IF_MATCH))


@remove.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    name = form.text("client_id")
    return [
        f"{name} gets no more tokens; its keys, its refresh tokens and the rules that name it are removed.",
        await used(api, name),
        "This cannot be undone. To stop it for a while, disable it.",
    ]


@action("client.change", "Change the client")
async def change(api: Api, form: Form) -> Ask:
    name = form.text("client_id")
    before = await api.get(at(CLIENT, name))
    wanted = by_rule(members.read(form, SETTINGS, before), before)
    if not wanted:
        raise ConfigError("no member was changed")
    return Ask("PATCH", at(CLIENT, name), wanted, form.maybe(IF_MATCH))


@action("client.grant", "Change what the client may request")
async def grant(_: Api, form: Form) -> Ask:
    """The boxes of the matrix: each scope once, and the APIs."""
    wanted = {name: list(dict.fromkeys(form.words(name))) for name in ("scope", "resources")}
    return Ask("PATCH", at(CLIENT, form.text("client_id")), wanted, form.maybe(IF_MATCH))


def by_rule(wanted: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes with `observe` split as the admin API takes it: rules to add, and rules to enforce again."""
    if "observe" not in wanted:
        return wanted
    old, new = set(before["observe"]), set(wanted["observe"])
    split = {"observe": sorted(new - old), "enforce": sorted(old - new)}
    others = {name: value for name, value in wanted.items() if name != "observe"}
    return others | {name: value for name, value in split.items() if value}


async def used(api: Api, client_id: str) -> str:
    """Return a sentence with the figures of the last hour."""
    found = await figures.last_hour(api, client_id)
    return found.said(f"{client_id} got a token")
