"""The demo's API, guarded: `python -m affiant.cli.diagnosis.demo.api ISSUER PORT`."""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from affiant.resource import Guard
from affiant.resource.asgi import GuardMiddleware

SCOPE = "orders.read"


def application(issuer: str, audience: str) -> GuardMiddleware:
    """Return the application: one route, which needs the scope to read orders."""

    async def orders(request: Request) -> JSONResponse:
        return JSONResponse({"orders": 3, "for": request.scope["affiant.caller"].client_id})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    app = Starlette(routes=[Route("/orders", orders), Route("/health", health)])
    return GuardMiddleware(app, Guard(issuer, audience=audience), need=[SCOPE], public=["/health"])


if __name__ == "__main__":
    port = int(sys.argv[2])
    config = uvicorn.Config(
        application(sys.argv[1], f"http://127.0.0.1:{port}"), port=port, log_level="warning", access_log=False
    )
    uvicorn.Server(config).run()
