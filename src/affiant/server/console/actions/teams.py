"""Add, change and remove teams."""

from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.view import Form

_TEAM = "/teams/{}"


@action("team.new", "Add a team")
async def add_team(_: Api, form: Form) -> Ask:
    contact = form.maybe("contact")
    return Ask("POST", "/teams", {"name": form.text("team"), **({"contact": contact} if contact else {})})


@action("team.change", "Change the team")
async def change_team(_: Api, form: Form) -> Ask:
    members = {"contact": form.text("contact"), "resources": form.words("resources"), "scope": form.words("scope")}
    return Ask("PATCH", at(_TEAM, form.text("team")), members, form.maybe(IF_MATCH))


@action("team.remove", "Remove the team")
async def remove_team(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at(_TEAM, form.text("team")), None, form.maybe(IF_MATCH))


@remove_team.tells_what_breaks
async def _(_: Api, form: Form) -> list[str]:
    return [f"{form.text('team')} must own nothing, and no role may be limited to it: else this is refused."]
