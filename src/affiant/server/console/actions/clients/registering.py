"""Register a client, with a key made in the tab of the browser, pasted keys, or the address of its keys."""

from __future__ import annotations

from typing import Any

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.console.actions.action import action
from affiant.server.console.actions.clients.credentials import KEY, pasted
from affiant.server.console.api import Api, Ask
from affiant.server.console.show.records import members
from affiant.server.console.view import Form
from affiant.server.registry import fields
from affiant.server.registry.fields import By
from affiant.storage.records import Client

METHOD, URL = "token_endpoint_auth_method", "jwks_uri"
TAB, PASTE, AT_URL, SECRET, OTHER = "tab", "paste", "url", "secret", "other"
WAYS = (TAB, PASTE, AT_URL, SECRET, OTHER)
# Members that few clients need: the form folds them away.
FOLDED = [row for row in fields.CLIENT.by(By.NEW) if row.name not in ("scope", "resources", URL, METHOD)]
_FOR_SECRETS = (names.CLIENT_SECRET_JWT, names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)
_FOR_OTHERS = tuple(name for name in names.AUTH_METHODS if name not in (names.PRIVATE_KEY_JWT, *_FOR_SECRETS))
# The values of members that a request leaves out.
DEFAULTS = fields.CLIENT.render(Client("", names.PRIVATE_KEY_JWT))
METHODS = {SECRET: _FOR_SECRETS, OTHER: _FOR_OTHERS}


@action("client.register", "Register the client", reveals="clients/registered.html")
async def register(_: Api, form: Form) -> Ask:
    wanted = members.read(form, FOLDED, DEFAULTS)
    wanted |= {name: given for name in ("scope", "resources") if (given := list(dict.fromkeys(form.words(name))))}
    return Ask("POST", "/clients", {"client_id": form.text("client_id"), **wanted, **_credentials(form)})


def _credentials(form: Form) -> dict[str, Any]:
    way = form.text("by")
    if way == TAB and not form.text(KEY):  # the command makes the key
        return {METHOD: names.PRIVATE_KEY_JWT}
    if way in (TAB, PASTE):
        return {METHOD: names.PRIVATE_KEY_JWT, "jwks": pasted(form)}
    if way == AT_URL:
        return {METHOD: names.PRIVATE_KEY_JWT, URL: form.text(URL)}
    chosen = form.text(f"{way}_method")
    if chosen not in METHODS.get(way, ()):
        raise ConfigError("choose how the client authenticates")
    is_by_certificate = chosen == names.SELF_SIGNED_TLS_CLIENT_AUTH
    return {METHOD: chosen, **({"jwks": pasted(form)} if is_by_certificate else {})}
