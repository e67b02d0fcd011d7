"""The commands for APIs, signing keys and tokens."""

from affiant.server.console.show.commands.command import Body, Command, Names, options
from affiant.server.registry import fields


def _rotate(_: Names, body: Body) -> list[str]:
    given = [("--alg", "alg"), ("--for", "line"), ("--key", "key")]
    words = [word for option, member in given if member in body for word in (option, str(body[member]))]
    return ["signing-key", "rotate", *(["--now"] if body.get("at_once") else []), *words]


def _new_api(_: Names, body: Body) -> list[str]:
    return ["api", "new", body["name"], "--identifier", body["identifier"], *options(fields.API, body)]


def _change_api(names: Names, body: Body) -> list[str]:
    default = ["--default"] if body.get("is_default") else []
    return ["api", "update", names["identifier"], *default, *options(fields.API, body)]


def _revoke(_: Names, body: Body) -> list[str]:
    kind, of = body["kind"], body.get("client_id")
    until = ["--before", str(body["before"])] if "before" in body else []
    if kind == "all":
        return ["revoke", "--all", "--yes", *until]
    return ["revoke", *(["--client", of] if of is not None else []), f"--{kind}", body["value"], *until]


def _invite(_: Names, body: Body) -> list[str]:
    rows = [("--scope", "scope"), ("--resource", "resources")]
    words = [word for option, member in rows for one in body.get(member, ()) for word in (option, one)]
    return ["invitation", "new", *words, "--uses", str(body["uses"]), "--expires-in", str(body["lifetime_seconds"])]


COMMANDS = (
    Command("POST", "/apis", _new_api),
    Command("PATCH", "/apis/{identifier}", _change_api),
    Command("POST", "/revocations", _revoke),
    Command("POST", "/initial-access-tokens", _invite),
    Command("DELETE", "/initial-access-tokens/{id}", lambda names, _: ["invitation", "revoke", names["id"]]),
    Command("POST", "/signing-keys", _rotate),
    Command("DELETE", "/signing-keys/{kid}", lambda names, _: ["signing-key", "remove", names["kid"]]),
)
