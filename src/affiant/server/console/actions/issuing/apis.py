"""Register, change and remove APIs."""

from typing import Any

from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show.records import issued, members
from affiant.server.console.view import Form
from affiant.server.registry import fields

PATH = "/apis/{}"
ROWS = [row for row in fields.API if row.name not in ("name", "is_default")]
_CHANGED = [fields.API.rows["name"], *ROWS]


@action("api.new", "Register the API")
async def register(_: Api, form: Form) -> Ask:
    identifier = form.text("identifier")
    body: dict[str, Any] = {"identifier": identifier, "name": form.text("name") or identifier[:100]}
    return Ask("POST", "/apis", body | members.read(form, ROWS))


@action("api.update", "Change the API")
async def update(api: Api, form: Form) -> Ask:
    path = at(PATH, form.text("identifier"))
    return Ask("PATCH", path, members.read(form, _CHANGED, await api.get(path)), form.maybe(IF_MATCH))


@action("api.make-default", "Make it the default API")
async def make_default(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(PATH, form.text("identifier")), {"is_default": True}, form.maybe(IF_MATCH))


@make_default.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    apis = (await api.get("/apis", limit=1000))["items"]
    now = next((one["identifier"] for one in apis if one["is_default"]), None)
    return [
        f"Requests without a resource get tokens for {form.text('identifier')}"
        + (f" from now on, and no longer for {now}." if now is not None else " from now on."),
        "A client without scopes for it is refused until its requests name an API.",
    ]


@action("api.remove", "Remove the API")
async def remove(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at(PATH, form.text("identifier")), None, form.maybe(IF_MATCH))


@remove.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    identifier = form.text("identifier")
    count = await issued.find(api, lambda record: identifier in str(record.get("resource") or "").split())
    return [
        f"No client gets tokens for {identifier} any more, and all that were issued end within two seconds.",
        count.sentence("for it"),
        "Clients keep its scopes and its name. Registered again, it has none of its settings.",
    ]
