"""Who may ask for what: each client with each API that it may ask for, and the scopes it can get there."""

from typing import Any

from starlette.requests import Request

from affiant.oauth.parameters.scope import is_covered
from affiant.server.admin import documents, lists
from affiant.server.admin.lists import CursorText, Limit
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.declared import Call, Routes
from affiant.storage.records import Api, Client

ROUTES = Routes("grants")


@ROUTES("GET /grants", Role.VIEWER, answers=documents.page(documents.Grant), is_list=True)
async def list_grants(request: Request, call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List who may ask for what, by client; `limit` counts clients, of which each may have several APIs."""

    async def fetch(after: str, limit: int) -> tuple[list[documents.Grant], str | None]:
        apis = {api.identifier: api for api in await call.desk.store.apis.list()}
        default = await call.desk.store.apis.default()
        found = await call.desk.store.clients.list(after=after, limit=limit)
        grants = [grant for client in found for grant in _grants(client, apis, default)]
        return grants, found[-1].client_id if len(found) == limit else None

    return await lists.answer(request, call, limit, cursor, fetch)


def _grants(client: Client, apis: dict[str, Api], default: Api | None) -> list[documents.Grant]:
    allowed = client.resources or ((default.identifier,) if default else ())
    return [
        documents.Grant(
            client_id=client.client_id,
            resource=identifier,
            scope=[name for name in client.scope if is_covered(name, apis[identifier].scopes)],
            grant_types=list(client.grant_types),
            enabled=client.enabled,
        )
        for identifier in allowed
        if identifier in apis
    ]
