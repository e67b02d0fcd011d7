"""The one door of the admin API: nobody gets to any route, known or not, without having proved who they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from affiant.errors import Rejected
from affiant.oauth import bearer, resource_request
from affiant.oauth.access_token import AccessToken
from affiant.reasons import Reason
from affiant.server.admin import roles
from affiant.server.admin.calls import Call, Desk
from affiant.server.admin.problems import HEADERS
from affiant.server.admin.roles import Principal
from affiant.server.request import http
from affiant.server.request.deadline import Deadline
from affiant.server.request.notes import Request
from affiant.server.token.active import is_revoked

Recognise = Callable[[http.Scope, float], Awaitable[Principal]]


class Tokens:
    """Authenticates callers of the admin API by access tokens of this server, issued for the admin API alone."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        parts = urlsplit(desk.issuer)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._rules = resource_request.Rules(desk.issuer, desk.identifier, leeway=0, nonces=desk.nonces)

    async def __call__(self, scope: http.Scope, now: float) -> Principal:
        await self._desk.directory.refresh()
        authorization, proved = resource_request.read(scope, base=self._origin)
        shown = bearer.parse_authorization(authorization)
        if shown is None:
            raise Rejected(Reason.TOKEN_MISSING)
        verified = resource_request.verify_signature(shown.token, self._desk.directory.published_keys())
        certificate = self._desk.certificates.find(scope)
        token = resource_request.verify(
            verified, shown, rules=self._rules, now=now, proved=proved, certificate=certificate
        )
        # Attack: a token for two APIs. The other API could act here in the name of the client.
        if token.claims.get("aud") != self._desk.identifier:
            raise Rejected(Reason.TOKEN_AUDIENCE, expected=self._desk.identifier)
        if await is_revoked(token.claims, self._desk.store.revocations):
            raise Rejected(Reason.TOKEN_REVOKED)
        return await self._principal(token)

    async def _principal(self, token: AccessToken) -> Principal:
        client = await self._desk.directory.client(token.client_id)
        if client is None or not client.record.enabled or self._desk.directory.api(self._desk.identifier) is None:
            raise Rejected(Reason.TOKEN_REVOKED)
        # A scope that the client has lost since no longer counts, although its token has it.
        registered = roles.role_of(client.record, self._desk.identifier)
        granted = roles.highest(token.scopes & set(client.record.scope))
        if registered is None or granted is None:
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=roles.Role.VIEWER.scope)
        return Principal(token.client_id, granted)


class Gate:
    """Stands before the routes: who calls, what they send, and what every answer has."""

    def __init__(
        self, inner: ASGIApp, *, desk: Desk, recognise: Recognise, clock: Callable[[], float], prefix: str
    ) -> None:
        self._inner = inner
        self._desk = desk
        self._recognise = recognise
        self._clock = clock
        self.prefix = prefix
        self._deadline = Deadline()

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer one request."""
        address = scope["client"][0] if scope.get("client") else ""
        call = Call(self._desk, Request("admin", address, self._clock()))
        try:
            with self._deadline:
                call.admit(await self._recognise(scope, call.visit.now))
                body = await http.read_body(receive)
        except TimeoutError:
            answer = await call.refuse(Rejected(Reason.TOO_SLOW))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered, and nothing is done
            answer = await call.refuse(error)
        else:
            inner = {**scope, "state": {**scope.get("state", {}), "call": call}, "root_path": self.prefix}
            # Routes are chosen by the path as it was sent: a client named a/keys is not the keys of a client named a.
            inner["path"] = resource_request.path_of(scope)
            await self._inner(inner, _replay(body, receive), _send_with(send, call))
            return
        await answer(scope, receive, send)


def _replay(body: bytes, receive: http.Receive) -> http.Receive:
    """The body that was read already, and then what the connection says."""
    pending = [body]

    async def again() -> Any:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return again


def _send_with(send: http.Send, call: Call) -> http.Send:
    """Every answer says that nobody may keep it, and which request it was."""
    always = {**{name.lower(): value for name, value in HEADERS.items()}, "x-trace-id": call.visit.trace_id}

    async def send_all(message: Any) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.decode("latin-1").lower() not in always]
            message = {**message, "headers": kept + [(n.encode(), v.encode()) for n, v in always.items()]}
        await send(message)

    return send_all
