"""The commands for users of the console, their passkeys and sessions."""

from affiant.server.admin.routes.users.documents import USER
from affiant.server.console.show.commands.command import Body, Command, Names, named, options

_USER = ["console", "user"]


def _invite(_: Names, body: Body) -> list[str]:
    return ["console", "link", *options(USER, body), *named(body["name"])]


def _link(names: Names, _: Body) -> list[str]:
    return ["console", "link", *named(names["name"])]


def _change_user(names: Names, body: Body) -> list[str]:
    if set(body) == {"enabled"}:
        return [*_USER, "enable" if body["enabled"] else "disable", *named(names["name"])]
    return [*_USER, "update", *options(USER, body), *named(names["name"])]


def _remove_user(names: Names, _: Body) -> list[str]:
    return [*_USER, "remove", *named(names["name"])]


def _remove_passkey(names: Names, _: Body) -> list[str]:
    return ["console", "remove-passkey", *named(names["name"], names["id"])]


def _end_session(names: Names, _: Body) -> list[str]:
    return ["console", "end", *named(names["id"])]


COMMANDS = (
    Command("POST", "/users", _invite),
    Command("POST", "/users/{name}/links", _link),
    Command("PATCH", "/users/{name}", _change_user),
    Command("DELETE", "/users/{name}", _remove_user),
    Command("DELETE", "/users/{name}/passkeys/{id}", _remove_passkey),
    Command("DELETE", "/sessions/{id}", _end_session),
)
