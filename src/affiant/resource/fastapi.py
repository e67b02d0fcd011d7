"""The guard as a FastAPI dependency: ``caller: Annotated[Caller, Depends(guard("orders.read"))]``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, WebSocketException
from starlette.requests import HTTPConnection

from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.request import Scope


def dependency(check_scope: Callable[[Scope], Awaitable[Caller | Denied]]) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency for routes of HTTP and WebSocket: it returns the caller, or refuses the request.

    A refused request gets the exact status and challenge. A refused WebSocket is closed with 1008, unaccepted.
    """

    async def check(connection: HTTPConnection) -> Caller:
        found = await check_scope(connection.scope)
        if isinstance(found, Caller):
            return found
        if connection.scope["type"] == "websocket":
            raise WebSocketException(1008, found.error)
        headers = {name: value for name, value in found.headers.items() if name != "Content-Type"}
        raise HTTPException(found.status, detail=json.loads(found.body), headers=headers)

    # FastAPI reads these annotations; as text it could not resolve them here.
    check.__annotations__ = {"connection": HTTPConnection, "return": Caller}
    return check
