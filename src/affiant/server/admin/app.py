"""The admin API as an ASGI application: FastAPI for its documents and its OpenAPI, behind the gate."""

from __future__ import annotations

import json
import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotation
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from affiant.errors import Rejected
from affiant.jose import strict_json
from affiant.reasons import Reason
from affiant.server.admin import documents, problems
from affiant.server.admin.gate import Gate, Tokens
from affiant.server.admin.reads.lists import LINES
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import ALL
from affiant.server.admin.routes.declared import Declared

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from affiant.server.admin.calls import Desk
    from affiant.server.admin.gate import Recognise

# What any route may answer with: what is wrong before it is reached, and what fails beneath it.
_ALWAYS = (
    Reason.ADMIN_QUERY, Reason.TOKEN_MISSING, Reason.SCOPE_INSUFFICIENT, Reason.TOO_SLOW, Reason.TOO_LARGE,
    Reason.LIMIT_FAILURES, Reason.STORE, Reason.SIGNER,
)  # fmt: skip
_METHOD_NOT_ALLOWED = 405
_ROLE = "x-role"
_UNUSED = ("HTTPValidationError", "ValidationError")
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "RFC 6750; RFC 8705"},
    "dpop": {"type": "http", "scheme": "DPoP", "description": "RFC 9449, with a DPoP proof"},
}
_SUMMARY = "Who may ask this server for what, what was asked, and the keys it signs with."


class _Made(APIRoute):
    """What an AdminRoute is once it is asked for."""

    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        super().__init__(
            declared.path,
            declared.endpoint,
            methods=[declared.method],
            tags=[declared.noun],
            status_code=declared.status,
            response_model=declared.answers,
            responses=_responses(declared),
            openapi_extra={_ROLE: declared.role.value},
            operation_id=declared.endpoint.__name__.rstrip("_"),
        )

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request, whatever happens."""
        handle = super().get_route_handler()

        async def run(request: Request) -> Response:
            call = request.state.call
            try:
                call.who.require(self.declared.role)
                _check_query(request, {str(parameter.alias) for parameter in self.dependant.query_params})
                await _check_body(request, wanted=self.body_field is not None)
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - every failure is an answer, and is written down
                refused: Response = await call.refuse(error)
                return refused

        return run


class AdminRoute(Route):
    """A route that lets nobody in who has not its role; it is made of what was declared with one only.

    FastAPI's part is made when it is first asked for: a command asks one of forty, and all take a fifth of a second.
    """

    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        super().__init__(declared.path, declared.endpoint)
        self.methods = {declared.method}  # without HEAD, as FastAPI has it

    @cached_property
    def made(self) -> APIRoute:
        """The route as FastAPI has it."""
        return _Made(self.declared)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path as it was sent, and decode its parameters after that: an encoded slash parts no segments."""
        match, child = super().matches(scope)
        if match is Match.NONE:
            return match, child
        try:
            child["path_params"] = {
                name: unquote(value, errors="strict") for name, value in child["path_params"].items()
            }
        except UnicodeDecodeError:
            return Match.NONE, {}
        return match, child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for this path."""
        if scope["method"] != self.declared.method:
            raise HTTPException(_METHOD_NOT_ALLOWED)
        read = partial(self.made.handle, {**scope, "route": self.made})
        if not self.declared.is_admitted:
            await read(receive, send)
            return
        call = scope["state"]["call"]
        try:
            await call.desk.reads.serve(call.who.name, read, receive, send)
        except Rejected as busy:
            await (await call.refuse(busy))(scope, receive, send)


class AdminApp(FastAPI):
    """FastAPI, with a description that has how callers prove who they are, and no answer that is never given."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            made = get_openapi(
                title=self.title,
                version=self.version,
                summary=self.summary,
                servers=self.servers,
                routes=[route.made for route in self.routes if isinstance(route, AdminRoute)],
            )
            for operation in (operation for path in made["paths"].values() for operation in path.values()):
                if _UNUSED[0] in json.dumps(operation["responses"].get("422", {})):
                    del operation["responses"]["422"]  # FastAPI's own; here what is wrong with a query is 400
            for name in _UNUSED:
                made["components"]["schemas"].pop(name, None)
            made["components"]["securitySchemes"] = _SECURITY
            made["security"] = [{name: []} for name in _SECURITY]
            self.openapi_schema = made
        return self.openapi_schema


def build(desk: Desk, *, clock: Callable[[], float] = time.time, recognise: Recognise | None = None) -> Gate:
    """The admin API.

    Args:
        desk: the parts of the server.
        clock: seconds since the epoch.
        recognise: who calls; when left out, whoever has an access token of this server for its admin API.
    """
    app = AdminApp(
        title="affiant admin API",
        version="1",
        summary=_SUMMARY,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": desk.identifier}],
        exception_handlers={HTTPException: _refuse},
    )
    app.router.routes[:] = [AdminRoute(route) for route in DECLARED]
    prefix = desk.identifier.split("/", 3)[3]
    return Gate(app, desk=desk, recognise=recognise or Tokens(desk), clock=clock, prefix=f"/{prefix}")


async def _describe(request: Request) -> Response:
    """This description."""
    return JSONResponse(request.app.openapi())


async def _refuse(request: Request, error: Exception) -> Response:
    """No such route, or no such method of one."""
    if isinstance(error, HTTPException) and error.status_code == _METHOD_NOT_ALLOWED:
        found = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        error = Rejected(Reason.METHOD, expected=", ".join(sorted({m for route in found for m in route.methods})))
    refused: Response = await request.state.call.refuse(error)
    return refused


def _check_query(request: Request, known: set[str]) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    strange = sorted({name for name in given if name not in known or given.count(name) > 1})
    if strange:
        raise Rejected(Reason.ADMIN_QUERY, expected=f"once each at most: {', '.join(sorted(known)) or 'no parameter'}")


async def _check_body(request: Request, *, wanted: bool) -> None:
    """One strict JSON object, so that no proxy before us reads another than we do."""
    body = await request.body()
    if not wanted and not body:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not wanted or kind != "application/json":
        raise Rejected(Reason.ADMIN_JSON, expected="application/json" if wanted else "no body")
    try:
        strict_json.parse_object(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.ADMIN_JSON, expected=str(error)[:100]) from None


def _responses(declared: Declared) -> dict[int | str, dict[str, Any]]:
    sends = (Reason.ADMIN_JSON, Reason.ADMIN_INVALID) if declared.method in ("POST", "PATCH", "PUT") else ()
    problem = {"content": {problems.MEDIA_TYPE: {"schema": documents.Problem.model_json_schema()}}}
    told: dict[int | str, dict[str, Any]] = {}
    for reason in (*_ALWAYS, *sends, *declared.refuses):
        told.setdefault(reason.value.status, {"description": reason.value.sentence, **problem})
    if declared.is_list:
        told[declared.status] = {"content": {LINES: {"schema": {"type": "string"}}}}
    return told


# Every route there is.
DECLARED = (*ALL, Declared("openapi", "GET", "/openapi.json", Role.VIEWER, _describe, dict[str, Any]))
