"""The commands for teams."""

from affiant.server.console.show.commands.command import Body, Command, Names, named, options
from affiant.server.registry import fields


def _add(_: Names, body: Body) -> list[str]:
    return ["team", "add", *options(fields.TEAM, body), *named(body["name"])]


def _change(names: Names, body: Body) -> list[str]:
    return ["team", "update", *options(fields.TEAM, body), *named(names["name"])]


COMMANDS = (
    Command("POST", "/teams", _add),
    Command("PATCH", "/teams/{name}", _change),
    Command("DELETE", "/teams/{name}", lambda names, _: ["team", "remove", *named(names["name"])]),
)
