"""Invite, change and remove users of the console, and make links for them."""

from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.view import Form

_USER, _LINKS = "/users/{}", "/users/{}/links"
_MOST = 1000


@action("user.invite", "Invite a user", reveals="settings/link.html")
async def invite(_: Api, form: Form) -> list[Ask]:
    name, teams = form.text("user"), form.words("teams")
    members = {"name": name, "role": form.text("role"), **({"teams": teams} if teams else {})}
    return [Ask("POST", "/users", members), Ask("POST", at(_LINKS, name), {})]


@action("user.link", "Make a sign-in link", reveals="settings/link.html")
async def make_link(_: Api, form: Form) -> Ask:
    return Ask("POST", at(_LINKS, form.text("user")), {})


@action("user.change", "Change the user")
async def change_user(_: Api, form: Form) -> Ask:
    members = {"role": form.text("role"), "teams": form.words("teams")}
    return Ask("PATCH", at(_USER, form.text("user")), members, form.maybe(IF_MATCH))


@action("user.disable", "Disable the user")
async def disable_user(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(_USER, form.text("user")), {"enabled": False}, form.maybe(IF_MATCH))


@disable_user.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    name = form.text("user")
    return [
        f"{name} cannot sign in any more.",
        await _ended(api, name),
        "You can enable it again; it keeps its passkeys.",
    ]


@action("user.enable", "Enable the user")
async def enable_user(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(_USER, form.text("user")), {"enabled": True}, form.maybe(IF_MATCH))


@action("user.remove", "Remove the user")
async def remove_user(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at(_USER, form.text("user")), None, form.maybe(IF_MATCH))


@remove_user.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    name = form.text("user")
    passkeys = await api.get(at("/users/{}/passkeys", name))
    return [
        f"{name} is gone with its passkeys: {len(passkeys)}.",
        await _ended(api, name),
        "What it did stays in the audit log, under its name. It cannot be undone.",
    ]


async def _ended(api: Api, name: str) -> str:
    sessions = (await api.get("/sessions", user=name, limit=_MOST))["items"]
    return f"The sessions that it has now end at once: {len(sessions)}."
