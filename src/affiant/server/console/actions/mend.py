"""Mend what refused a request: the command that an explanation suggests, run from its page."""

from typing import Any
from urllib.parse import unquote

from affiant.errors import ConfigError
from affiant.jose import strict_json
from affiant.jose.keys import parse_public_jwk, parse_public_pem
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


@action("mend.key", "Register the public key")
async def register_key(_: Api, form: Form) -> Ask:
    """Add the public key that a client signs with; those that it has stay."""
    return Ask("POST", at("/clients/{}/keys", form.text("client_id")), {"jwk": _read(form.text("key"))})


async def _of_api(api: Api, path: str) -> str:
    """Return the path of an API that a command names."""
    name = unquote(path.removeprefix(_APIS))
    found = [one["identifier"] for one in (await api.get("/apis", limit=1000))["items"] if one["name"] == name]
    return at("/apis/{}", *(found or [name])[:1])


def _read(text: str) -> dict[str, Any]:
    """Return the JWK of a public key, given as a JWK or as PEM."""
    if not text.startswith("{"):
        return parse_public_pem(text.encode()).to_jwk()
    try:
        given = strict_json.parse_object(text.encode())
    except (ValueError, RecursionError):
        raise ConfigError("the key begins like a JWK, but is no JSON") from None
    return parse_public_jwk(given).to_jwk()  # which refuses a private one
