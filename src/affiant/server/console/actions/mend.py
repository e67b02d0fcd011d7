"""Mend what refused a request: the command that an explanation suggests, run from its page."""

from urllib.parse import unquote

from affiant.errors import ConfigError
from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show.commands import reading
from affiant.server.console.view import Form

_APIS = "/apis/"


@action("mend", "Let this request through")
async def mend(api: Api, form: Form) -> Ask:
    """Send the change of one suggested command; what the visitor may not do is refused as always."""
    found = reading.read(form.text("command"))
    if found is None:
        raise ConfigError("this command cannot be run from here: run it in a terminal")
    path = await _of_api(api, found.path) if found.path.startswith(_APIS) else found.path
    return Ask("PATCH", path, found.body, form.maybe(IF_MATCH))


async def _of_api(api: Api, path: str) -> str:
    """Return the path of an API that a command names."""
    name = unquote(path.removeprefix(_APIS))
    found = [one["identifier"] for one in (await api.get("/apis", limit=1000))["items"] if one["name"] == name]
    return at("/apis/{}", *(found or [name])[:1])
