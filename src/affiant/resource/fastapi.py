"""The guard as a FastAPI dependency: ``caller: Annotated[Caller, Depends(guard("orders.read"))]``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, WebSocketException
from starlette.requests import HTTPConnection

from affiant.errors import Rejected, RemoteError
from affiant.resource.answers import deny
from affiant.resource.guard import Caller, Guard, check_list
from affiant.resource.request import read, read_certificate


def dependency(guard: Guard, *scopes: str) -> Callable[[HTTPConnection], Awaitable[Caller]]:
    """Return a dependency for routes of HTTP and WebSocket: it returns the caller, or refuses.

    A refused request gets the exact status and challenge. A refused WebSocket is closed with 1008, unaccepted.
    """
    check_list("scopes", scopes)

    async def check(connection: HTTPConnection) -> Caller:
        values, proved = read(connection.scope, base=guard.url)
        try:
            certificate = read_certificate(connection.scope, guard.certificate_proxies)
            return await guard.check(values, need=scopes, proved=proved, certificate=certificate)
        except (Rejected, RemoteError) as error:
            denied = deny(guard, error, values)
            if connection.scope["type"] == "websocket":
                raise WebSocketException(1008, _reason(error)) from None
            headers = {name: value for name, value in denied.headers.items() if name != "Content-Type"}
            raise HTTPException(denied.status, detail=json.loads(denied.body), headers=headers) from None

    # FastAPI reads the annotations of what it calls, and finds them as text here.
    check.__annotations__ = {"connection": HTTPConnection, "return": Caller}
    return check


def _reason(error: Rejected | RemoteError) -> str:
    return error.reason.value.error if isinstance(error, Rejected) else "temporarily_unavailable"
