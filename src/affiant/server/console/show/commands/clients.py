"""The commands for clients."""

from affiant.server.console.show.commands.command import Body, Command, Names, options
from affiant.server.registry import fields


def _change(names: Names, body: Body) -> list[str]:
    if set(body) == {"enabled"}:
        return ["client", "enable" if body["enabled"] else "disable", names["client_id"]]
    return ["client", "update", names["client_id"], *options(fields.CLIENT, body)]


COMMANDS = (Command("PATCH", "/clients/{client_id}", _change),)
