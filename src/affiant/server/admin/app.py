"""The admin API: authenticate the caller, find the operation, read its parameters, answer.

No route is looked up for a caller that is not authenticated. Failures are recorded and answered as at every endpoint
(request/endpoint.py), here as problem details (RFC 9457).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import strict_json
from affiant.oauth import bearer, resource_request
from affiant.oauth.access_token import AccessToken
from affiant.server.admin import problems, roles
from affiant.server.admin.access.store import open_for
from affiant.server.admin.calls import AdminContext, Call
from affiant.server.admin.roles import Principal, Role
from affiant.server.admin.routes import ALL, operation
from affiant.server.admin.routes.operation import Operation, Reach
from affiant.server.request import http
from affiant.server.request.counting.uses import Uses
from affiant.server.request.endpoint import Context, Recorder
from affiant.server.request.notes import Request
from affiant.server.token.active import is_revoked

Authenticate = Callable[[http.Scope, float], Awaitable[Principal]]


class AdminEndpoint(Recorder):
    """The admin API as an ASGI application; `authenticate` returns the caller of a request."""

    name: ClassVar[str] = "admin"

    def __init__(self, context: AdminContext, authenticate: Authenticate, *, clock: Callable[[], float]) -> None:
        uses = Uses(context.store.key_uses)
        super().__init__(Context(context.issuer, context.store.ledger, context.limits, uses, clock))
        self._context = context
        self._authenticate = authenticate
        self._routes = OPERATIONS
        self.prefix: str = urlsplit(context.identifier).path

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        request = self.begin(scope, receive)
        try:
            with self._deadline:
                call = await self._admit(request)
            route, parameters = self._find(call)
        except Exception as error:  # noqa: BLE001 - every failure is recorded and answered
            await self.send(request, await self.fail(request, error), send)
            return
        respond = partial(self._respond, call, route, parameters)
        if not route.is_admitted:
            await respond(send)
            return
        try:
            await self._context.reads.serve(call.who.name, respond, receive, send)
        except Rejected as busy:
            await self.send(request, await self.fail(request, busy), send)

    async def fail(self, request: Request, error: Exception) -> http.Answer:
        return await super().fail(request, problems.rejected(error))

    async def settle(self, request: Request, refusal: Rejected) -> Rejected:
        # The operator at the data folder may mistype names; and a busy server is no failure of its caller.
        is_local = request.notes.by is not None and request.notes.client_id is None
        if is_local or refusal.reason is Reason.ADMIN_BUSY:
            return refusal
        return await super().settle(request, refusal)

    def refuse(self, request: Request, refusal: Rejected) -> http.Answer:
        nonces = self._context.nonces if refusal.reason is Reason.DPOP_NONCE else None
        nonce = nonces.current(request.now) if nonces is not None else None
        return problems.build(refusal, request, issuer=self._context.issuer, nonce=nonce)

    async def _admit(self, request: Request) -> Call:
        who, whole = await self._authenticate(request.scope, request.now), self._context.store
        call = Call(replace(self._context, store=open_for(whole, who)), request, who, whole)
        call.body = await http.read_body(request.receive)
        request.notes.is_read = True
        return call

    def _find(self, call: Call) -> tuple[Operation, dict[str, str]]:
        """Return the route of this path and method, and the parameters of the path."""
        path, methods = call.path.removeprefix(self.prefix), set()
        for route in self._routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if route.method == call.request.scope["method"]:
                return route, _decode(found.groupdict())
            methods.add(route.method)
        if methods:
            raise Rejected(Reason.METHOD, expected=", ".join(sorted(methods)))
        raise Rejected(Reason.ADMIN_NOT_FOUND)

    async def _respond(self, call: Call, route: Operation, parameters: dict[str, str], send: http.Send) -> None:
        try:
            answer = await _answer(call, route, parameters)
        except Exception as error:  # noqa: BLE001 - every failure is recorded and answered
            answer = await self.fail(call.request, error)
        await self.send(call.request, answer, send)


class Tokens:
    """Authenticates callers of the admin API by access tokens of this server, issued for the admin API alone."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        parts = urlsplit(context.issuer)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._rules = resource_request.Rules(context.issuer, context.identifier, leeway=0, nonces=context.nonces)

    async def __call__(self, scope: http.Scope, now: float) -> Principal:
        await self._context.directory.refresh()
        authorization, proved = resource_request.read(scope, base=self._origin)
        presented = bearer.parse_authorization(authorization)
        if presented is None:
            raise Rejected(Reason.TOKEN_MISSING)
        verified = resource_request.verify_signature(presented.token, self._context.directory.published_keys())
        certificate = self._context.certificates.find(scope)
        token = resource_request.verify(
            verified, presented, rules=self._rules, now=now, proved=proved, certificate=certificate
        )
        # Attack: a token for two APIs. The other API could act here in the name of the client.
        if token.claims.get("aud") != self._context.identifier:
            raise Rejected(Reason.TOKEN_AUDIENCE, expected=self._context.identifier)
        if await is_revoked(token.claims, self._context.store.revocations):
            raise Rejected(Reason.TOKEN_REVOKED)
        return await self._principal(token)

    async def _principal(self, token: AccessToken) -> Principal:
        client = await self._context.directory.client(token.client_id)
        if client is None or not client.record.enabled or self._context.directory.api(self._context.identifier) is None:
            raise Rejected(Reason.TOKEN_REVOKED)
        # A scope that the client has lost since no longer counts, although its token has it.
        registered = roles.role_of(client.record, self._context.identifier)
        granted = roles.highest(token.scopes & set(client.record.scope))
        if registered is None or granted is None:
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=roles.Role.VIEWER.scope)
        return Principal(token.client_id, granted, teams=frozenset(client.record.administers) or None)


def build(
    context: AdminContext, *, clock: Callable[[], float] = time.time, authenticate: Authenticate | None = None
) -> AdminEndpoint:
    """Build the admin API; by default its callers authenticate by access tokens of this server."""
    return AdminEndpoint(context, authenticate or Tokens(context), clock=clock)


async def _answer(call: Call, route: Operation, parameters: dict[str, str]) -> http.Answer:
    """Take a request to a route from its role to its answer."""
    route.admit(call.who)
    call.query = _read_query(call, route)
    body = _read_body(call, is_wanted=route.body is not None)
    arguments = _parse(call, route, {"path": parameters, "query": call.query, "body": body})
    result = await route.endpoint(call, **arguments)
    if isinstance(result, http.Answer):
        return result
    headers = [(name.lower().encode(), value.encode()) for name, value in call.headers.items()]
    if route.answers is None:
        return http.Answer(route.status, {}, headers, body=b"")
    document = route.answer.validate_python(result, from_attributes=True)
    return http.Answer(route.status, {}, headers, body=route.answer.dump_json(document))


def _read_query(call: Call, route: Operation) -> dict[str, str]:
    known = {name for place, name in route.places.values() if place == "query"}
    given = parse_qsl(call.request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = dict(given)
    if len(query) < len(given) or query.keys() - known:
        raise Rejected(Reason.ADMIN_QUERY, expected=f"once each at most: {', '.join(sorted(known)) or 'no parameter'}")
    return query


def _read_body(call: Call, *, is_wanted: bool) -> dict[str, Any] | None:
    """Return the one strict JSON object of the body, so that no proxy before us reads another than we do."""
    if not is_wanted and not call.body:
        return None
    kind = (call.header("content-type") or "").partition(";")[0].strip().lower()
    if not is_wanted or kind != "application/json":
        raise Rejected(Reason.ADMIN_JSON, expected="application/json" if is_wanted else "no body")
    try:
        return strict_json.parse_object(call.body)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.ADMIN_JSON, expected=str(error)[:100]) from None


def _parse(call: Call, route: Operation, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the endpoint."""
    names = [name for place, name in route.places.values() if place == "header"]
    given["header"] = {name: call.header(name) for name in names}
    try:
        return dict(route.asked.model_validate(given))
    except ValidationError as error:
        raise problems.invalid(error) from None


def _decode(parameters: dict[str, str]) -> dict[str, str]:
    """Decode the parameters of a path, which was matched as it was sent: an encoded slash separates no segments."""
    try:
        return {name: unquote(value, errors="strict") for name, value in parameters.items()}
    except UnicodeDecodeError:
        raise Rejected(Reason.ADMIN_NOT_FOUND) from None


async def _describe(call: Call) -> Any:
    """This description."""
    return operation.describe(OPERATIONS, identifier=call.context.identifier)


# Every route there is.
OPERATIONS = (*ALL, Operation("openapi", "GET", "/openapi.json", Role.VIEWER, Reach.PUBLIC, _describe, dict[str, Any]))
