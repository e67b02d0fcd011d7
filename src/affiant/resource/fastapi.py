"""The guard as a FastAPI dependency: ``caller: Annotated[Caller, Depends(guard("orders.read"))]``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fastapi import HTTPException, Request

from affiant.errors import Rejected, RemoteError
from affiant.resource.answers import deny
from affiant.resource.guard import Caller
from affiant.resource.request import read, read_certificate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from affiant.resource.guard import Guard


def dependency(guard: Guard, *scopes: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that returns the caller, or answers with the exact status and challenge."""

    async def check(request: Request) -> Caller:
        values, proved = read(request.scope, base=guard.url)
        try:
            certificate = read_certificate(request.scope, guard.certificate_proxies)
            return await guard.check(values, need=scopes, proved=proved, certificate=certificate)
        except (Rejected, RemoteError) as error:
            denied = deny(guard, error, values)
            headers = {name: value for name, value in denied.headers.items() if name != "Content-Type"}
            raise HTTPException(denied.status, detail=json.loads(denied.body), headers=headers) from None

    # FastAPI reads the annotations of what it calls, and finds them as text here.
    check.__annotations__ = {"request": Request, "return": Caller}
    return check
