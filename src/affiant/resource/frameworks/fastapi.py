"""The guard in FastAPI: a dependency that is the caller, and the responses of a refusal in OpenAPI."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Security, WebSocketException, params
from fastapi.dependencies.models import Dependant
from fastapi.openapi import models
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.responses import Response

from affiant.errors import ConfigError
from affiant.oauth import bearer
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import AnyOf
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller, headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import checked, starlette
from affiant.resource.frameworks.asgi import DENIAL

_BODY = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
    "required": ["error_description"],
}
_RESPONSES = {
    "401": ("No valid access token", "WWW-Authenticate"),
    "403": ("The access token lacks a scope", "WWW-Authenticate"),
    "503": ("The access token cannot be checked now", "Retry-After"),
}


class Refusal(HTTPException):
    """A refused request. FastAPI wraps the body in ``detail``; an application with the guard installed does not.

    Attributes:
        denied: the whole response.
    """

    def __init__(self, denied: Denied) -> None:
        headers = {name: value for name, value in denied.headers.items() if name != "Content-Type"}
        super().__init__(denied.status, detail=json.loads(denied.body), headers=headers)
        self.denied = denied


class Needed(params.Security):
    """The scopes that a route needs: an annotation of a parameter, a dependency, and the key to override it in tests.

    Those of one guard with the same scopes are equal, and FastAPI calls one of them for each request.
    """

    def __init__(self, guard: Checks, *scopes: str | AnyOf) -> None:
        super().__init__(dependency=self)
        self._guard, self._scopes = guard, scopes
        shown = needs.all_of("scopes", *scopes).text.split()
        annotations = {
            "connection": HTTPConnection,
            "response": Response,
            "more": SecurityScopes,
            "_scheme": Annotated[None, Security(Scheme(guard), scopes=shown)],
        }
        # FastAPI reads it in place of that of `__call__`.
        self.__signature__: Signature = Signature(
            [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in annotations.items()]
        )

    async def __call__(
        self, *, connection: HTTPConnection, response: Response, more: SecurityScopes, _scheme: None = None
    ) -> Caller:
        """Return the caller, or raise the refusal. `more` has the scopes of every ``Security`` above this one."""
        need, scope = needs.all_of("scopes", *self._scopes, *more.scopes), connection.scope
        found = await checked.check(self._guard, scope, need, scope)
        if isinstance(found, Caller):
            response.headers.update(headers_of(found))
            return found
        if scope["type"] == "websocket" and DENIAL not in (scope.get("extensions") or {}):
            raise WebSocketException(1008, found.error)
        raise Refusal(found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Needed) and (self._guard, self._scopes) == (other._guard, other._scopes)

    def __hash__(self) -> int:
        return hash((self._guard, self._scopes))

    def __repr__(self) -> str:
        return f"guard({', '.join(map(repr, self._scopes))})"


class Scheme(SecurityBase):
    """The scheme in OpenAPI. Nothing is fetched for it: Swagger UI asks for a token, whatever issuer has issued it."""

    def __init__(self, guard: Checks) -> None:
        self.scheme_name: str = name_of(guard)
        description = f"An access token for {guard.audience}"
        if bearer.BEARER in guard.schemes:
            self.model: models.SecurityBase = models.HTTPBearer(bearerFormat="JWT", description=description)
        else:
            self.model = models.HTTPBase(scheme=bearer.DPOP, description=description)

    async def __call__(self) -> None:
        """Do nothing: `Needed` checks the token."""


def name_of(guard: Checks) -> str:
    """Return the name of a guard's scheme: two guards of one application differ in their API."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", guard.audience.partition("://")[2] or guard.audience).strip("-")


def install(guard: Checks, app: FastAPI) -> None:
    """Install the guard as in Starlette, answer refusals exactly, and describe them in OpenAPI."""
    starlette.install(guard, app)
    app.add_exception_handler(Refusal, _answer)
    start = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[Any]:
        _check_routes(app)
        async with start(application) as state:
            yield state

    app.router.lifespan_context = lifespan
    build, scheme = app.openapi, name_of(guard)

    def openapi() -> dict[str, Any]:
        schema = build()
        for operation in _operations(schema, scheme):
            for status, (text, header) in _RESPONSES.items():
                described = {
                    "description": text,
                    "headers": {header: {"schema": {"type": "string"}}},
                    "content": {"application/json": {"schema": _BODY}},
                }
                operation["responses"].setdefault(status, described)
        return schema

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's documentation extends it


def _check_routes(app: FastAPI) -> None:
    """Raise ConfigError for a route with the guard where a call of it belongs.

    Attack: for FastAPI that is a parameter with a default, which a request sets: ``/orders?caller=x``.
    """
    for route in _routes(app.routes):
        dependant: Dependant | None = getattr(route, "dependant", None)
        if dependant is not None and any(isinstance(one.field_info.default, Checks) for one in _parameters(dependant)):
            path = getattr(route, "path", "a route")
            raise ConfigError(f'{path}: the guard is no parameter: call it, as in  caller=guard("orders.read")')


def _routes(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield the routes, with those of included routers and mounted applications."""
    for route in routes:
        yield route
        yield from _routes(getattr(getattr(route, "original_router", route), "routes", None) or ())


def _parameters(dependant: Dependant) -> Iterator[Any]:
    """Yield what a route and its dependencies read from a request."""
    yield from dependant.path_params
    yield from dependant.query_params
    yield from dependant.header_params
    yield from dependant.cookie_params
    yield from dependant.body_params
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _operations(schema: dict[str, Any], scheme: str) -> Iterator[dict[str, Any]]:
    """Yield the operations behind this scheme."""
    for path in schema.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict) and any(scheme in one for one in operation.get("security", ())):
                yield operation


async def _answer(_: object, refusal: Any) -> Response:
    return starlette.response(refusal.denied)
