"""The commands for trusts and rules; `affiant trust add` makes a trust together with its first rule."""

from affiant.server.console.show.commands.command import Body, Command, Names, options
from affiant.server.registry.federation import fields

_FILES = {"jwks": "keys.json", "ca": "ca.pem"}


def _change_trust(names: Names, body: Body) -> list[str]:
    if set(body) == {"enabled"}:
        return ["trust", "enable" if body["enabled"] else "disable", names["name"]]
    given = {name: _FILES.get(name, value) for name, value in body.items()}
    return ["trust", "update", names["name"], *options(fields.TRUST, given)]


def _change_rule(names: Names, body: Body) -> list[str]:
    if set(body) == {"enabled"}:
        return ["rule", "enable" if body["enabled"] else "disable", names["name"]]
    return ["rule", "update", names["name"], *options(fields.RULE, body)]


def _remove_trust(names: Names, body: Body) -> list[str]:
    return ["trust", "remove", names["name"], *(["--with-rules"] if body.get("with_rules") else [])]


COMMANDS = (
    Command("PATCH", "/trusts/{name}", _change_trust),
    Command("DELETE", "/trusts/{name}", _remove_trust),
    Command("POST", "/rules", lambda _, body: ["rule", "add", body["name"], *options(fields.RULE, body)]),
    Command("PATCH", "/rules/{name}", _change_rule),
    Command("DELETE", "/rules/{name}", lambda names, _: ["rule", "remove", names["name"]]),
)
