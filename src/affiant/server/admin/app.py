"""The admin API as an ASGI application: its operations, behind the gate."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router
from starlette.types import Receive, Scope, Send

from affiant.errors import Rejected
from affiant.jose import strict_json
from affiant.reasons import Reason
from affiant.server.admin import problems
from affiant.server.admin.calls import Call, Desk
from affiant.server.admin.gate import Gate, Recognise, Tokens
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import ALL
from affiant.server.admin.routes.operation import Operation


class AdminRoute(Route):
    """A route that admits only callers with its role; every operation has one."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        super().__init__(operation.path, operation.endpoint)
        self.methods = {operation.method}  # without HEAD

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
        """Answer a request for this path; a long read waits for its turn."""
        call: Call = scope["state"]["call"]
        try:
            if scope["method"] != self.operation.method:
                raise Rejected(Reason.METHOD, expected=", ".join(_methods(scope)))
            if self.operation.is_admitted:
                await call.desk.reads.serve(call.who.name, partial(self._answer, scope), receive, send)
            else:
                await self._answer(scope, receive, send)
        except Rejected as refusal:
            await (await call.refuse(refusal))(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call = scope["state"]["call"]
        call.request = Request(scope, receive)
        try:
            response = await self._respond(call)
        except Exception as error:  # noqa: BLE001 - every failure is an answer, and is written down
            response = await call.refuse(error)
        await response(scope, receive, send)

    async def _respond(self, call: Call) -> Response:
        """Return the answer: every step of a request to a route, in order."""
        route = self.operation
        call.who.require(route.role)
        _check_query(call.request, {name for place, name in route.places.values() if place == "query"})
        body = await _read_body(call.request, is_wanted=route.body is not None)
        arguments = self._parse(call.request, body)
        result = await route.endpoint(call, **arguments)
        if isinstance(result, Response):
            return result
        if route.answers is None:
            return Response(None, route.status, call.headers)
        document = route.answer.validate_python(result, from_attributes=True)
        return Response(route.answer.dump_json(document), route.status, call.headers, "application/json")

    def _parse(self, request: Request, body: Any) -> dict[str, Any]:
        """Return the arguments of the endpoint."""
        given = {"path": request.path_params, "query": dict(request.query_params), "header": dict(request.headers)}
        try:
            return dict(self.operation.asked.model_validate({**given, "body": body}))
        except ValidationError as error:
            raise problems.invalid(error) from None


def build(desk: Desk, *, clock: Callable[[], float] = time.time, recognise: Recognise | None = None) -> Gate:
    """The admin API."""
    router = Router([AdminRoute(route) for route in OPERATIONS], redirect_slashes=False, default=_refuse)
    prefix = desk.identifier.split("/", 3)[3]
    return Gate(router, desk=desk, recognise=recognise or Tokens(desk), clock=clock, prefix=f"/{prefix}")


async def _describe(call: Call) -> Any:
    """This description."""
    from affiant.server.admin import openapi  # noqa: PLC0415 - few ever ask for it

    return openapi.build(OPERATIONS, identifier=call.desk.identifier)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """No route has this path."""
    await (await scope["state"]["call"].refuse(Rejected(Reason.ADMIN_NOT_FOUND)))(scope, receive, send)


def _methods(scope: Scope) -> list[str]:
    routes: list[AdminRoute] = scope["router"].routes
    return sorted({route.operation.method for route in routes if route.matches(scope)[0] is not Match.NONE})


def _check_query(request: Request, known: set[str]) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    strange = sorted({name for name in given if name not in known or given.count(name) > 1})
    if strange:
        raise Rejected(Reason.ADMIN_QUERY, expected=f"once each at most: {', '.join(sorted(known)) or 'no parameter'}")


async def _read_body(request: Request, *, is_wanted: bool) -> dict[str, Any] | None:
    """Return the one strict JSON object of the body, so that no proxy before us reads another than we do."""
    body = await request.body()
    if not is_wanted and not body:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not is_wanted or kind != "application/json":
        raise Rejected(Reason.ADMIN_JSON, expected="application/json" if is_wanted else "no body")
    try:
        return strict_json.parse_object(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.ADMIN_JSON, expected=str(error)[:100]) from None


# Every route there is.
OPERATIONS = (*ALL, Operation("openapi", "GET", "/openapi.json", Role.VIEWER, _describe, dict[str, Any]))
