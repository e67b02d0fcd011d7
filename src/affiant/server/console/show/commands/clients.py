"""The commands for clients, their keys and their secrets."""

from typing import Any

from affiant.server.console.show.commands.command import STDIN, Body, Command, Names, named, options
from affiant.server.registry import fields

_CLIENT = "/clients/{client_id}"


def _new(_: Names, body: Body) -> list[str]:
    return ["client", "new", *options(fields.CLIENT, body), *_keys(body), *named(body["client_id"])]


def _change(names: Names, body: Body) -> list[str]:
    if set(body) == {"enabled"}:
        return ["client", "enable" if body["enabled"] else "disable", *named(names["client_id"])]
    enforced = [word for rule in body.get("enforce", ()) for word in ("--enforce", rule)]
    return ["client", "update", *options(fields.CLIENT, body), *enforced, *_keys(body), *named(names["client_id"])]


def _keys(body: Body) -> list[str]:
    return ["--jwks", STDIN] if body.get("jwks") else []


def _jwks(body: Body) -> Any:
    return body.get("jwks")


def _add_key(names: Names, body: Body) -> list[str]:
    since = ["--not-before", str(body["not_before"])] if body.get("not_before") else []
    return ["client", "key", "add", "--public-key", STDIN, *since, *named(names["client_id"])]


def _complete_key(names: Names, body: Body) -> list[str]:
    overlap = ["--overlap", str(body["overlap"])] if body.get("overlap") else []
    return ["client", "key", "complete", *overlap, *named(names["client_id"], body["kid"])]


def _of_key(step: str) -> Any:
    return lambda names, body: ["client", "key", step, *named(names["client_id"], body["kid"])]


def _of_secret(step: str) -> Any:
    return lambda names, _: ["client", "secret", step, *named(names["client_id"])]


COMMANDS = (
    Command("POST", "/clients", _new, _jwks),
    Command("PATCH", _CLIENT, _change, _jwks),
    Command("DELETE", _CLIENT, lambda names, _: ["client", "remove", *named(names["client_id"])]),
    Command("POST", f"{_CLIENT}/keys", _add_key, lambda body: body["jwk"]),
    Command("POST", f"{_CLIENT}/keys/complete", _complete_key),
    Command("POST", f"{_CLIENT}/keys/cancel", _of_key("cancel")),
    Command("POST", f"{_CLIENT}/keys/revoke", _of_key("revoke")),
    Command("POST", f"{_CLIENT}/secrets", _of_secret("new")),
    Command("POST", f"{_CLIENT}/secrets/complete", _of_secret("complete")),
    Command("POST", f"{_CLIENT}/secrets/cancel", _of_secret("cancel")),
    Command(
        "POST",
        f"{_CLIENT}/secrets/revoke",
        lambda names, body: ["client", "secret", "revoke", *named(names["client_id"], body["id"])],
    ),
)
