"""What may be done to a client."""

from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.view import Form

_CLIENT = "/clients/{}"


@action("client.disable", "Disable the client")
async def disable(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(_CLIENT, form.text("client_id")), {"enabled": False}, form.maybe(IF_MATCH))


@disable.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    client = await api.get(at(_CLIENT, form.text("client_id")))
    return [
        f"{client['client_id']} gets no more tokens, and every token that it has ends within two seconds.",
        f"It has authenticated {client['uses']:,} times.",
        "You can enable it again; it then has to ask for new tokens.",
    ]


@action("client.enable", "Enable the client")
async def enable(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(_CLIENT, form.text("client_id")), {"enabled": True}, form.maybe(IF_MATCH))
