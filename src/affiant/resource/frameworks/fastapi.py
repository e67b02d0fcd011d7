"""The guard as a dependency of FastAPI."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from affiant.oauth.parameters.need import Need
from affiant.resource.caller import Caller, headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import starlette


def dependency(guard: Checks, need: Need) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that is the caller; a refused request gets the exact status and challenge."""

    async def check(connection: HTTPConnection, response: Response) -> Caller:
        found = await guard.check_scope(connection.scope, need=need)
        if isinstance(found, Caller):
            response.headers.update(headers_of(found))
            return found
        if connection.scope["type"] == "websocket":
            raise WebSocketException(1008, found.error)
        headers = {name: value for name, value in found.headers.items() if name != "Content-Type"}
        raise HTTPException(found.status, detail=json.loads(found.body), headers=headers)

    # FastAPI reads these annotations; as text it could not resolve them here.
    check.__annotations__ = {"connection": HTTPConnection, "response": Response, "return": Caller}
    return check


def install(guard: Checks, app: FastAPI) -> None:
    """Put `Installed` in front of the application."""
    starlette.install(guard, app)
