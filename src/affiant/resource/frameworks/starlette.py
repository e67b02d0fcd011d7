"""The guard in Starlette: a decorator for endpoints, and a backend for its AuthenticationMiddleware."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import Response

from affiant.resource.answers import Denied
from affiant.resource.checks import Checks
from affiant.resource.frameworks.asgi import Installed


def install(guard: Checks, app: Starlette) -> None:
    """Put `Installed` in front of the application."""
    app.add_middleware(Installed, guard=guard, published=guard.publish())


def response(denied: Denied) -> Response:
    """Return the refusal, exactly; on a WebSocket it is a denial response, where the server can send one."""
    return Response(denied.body, denied.status, headers=denied.headers)
