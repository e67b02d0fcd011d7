"""Grants: each client with each API that it may request tokens for, and its scopes there."""

from operator import attrgetter
from typing import Any

from affiant.oauth.parameters.scope import is_covered
from affiant.server.admin import documents
from affiant.server.admin.reads import lists
from affiant.server.admin.reads.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import Call, Routes
from affiant.storage.records import Api, Client

ROUTES = Routes("grants")


@ROUTES("GET /grants", Role.VIEWER, answers=documents.page(documents.Grant), is_list=True)
async def list_grants(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the grants, by client; `limit` counts clients, each of which may have several APIs."""
    apis = {api.identifier: api for api in await call.desk.store.apis.list()}
    default = next((api for api in apis.values() if api.is_default), None)

    async def fetch(after: str, limit: int) -> list[Client]:
        return await call.desk.store.clients.list(after=after, limit=limit)

    source = Source(fetch, attrgetter("client_id"), lambda client: _grants(client, apis, default))
    return await lists.answer(call, limit, cursor, source)


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
