"""The first client: as others, with all that is asked already filled in."""

import json

from affiant.errors import ConfigError
from affiant.server.console.actions.action import action
from affiant.server.console.api import Api, Ask
from affiant.server.console.view import Form


@action("setup.client", "Create your first client")
async def create_client(_: Api, form: Form) -> Ask:
    """Register the public half of a key that was made in the visitor's tab."""
    try:
        jwks = json.loads(form.text("jwks"))
    except (ValueError, RecursionError):
        raise ConfigError("the page made no key, since it needs JavaScript: allow it, or use the command") from None
    members = {"client_id": form.text("client_id"), "scope": form.words("scope"), "jwks": jwks}
    return Ask("POST", "/clients", members | {"resources": form.words("resource")})
