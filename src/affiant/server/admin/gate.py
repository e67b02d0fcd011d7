"""Authenticate the callers of the admin API: no route is looked up for others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from affiant.errors import Rejected
from affiant.oauth import bearer, resource_request
from affiant.oauth.access_token import AccessToken
from affiant.reasons import Reason
from affiant.server.admin import roles
from affiant.server.admin.calls import Desk
from affiant.server.admin.roles import Principal
from affiant.server.request import http
from affiant.server.token.active import is_revoked

Authenticate = Callable[[http.Scope, float], Awaitable[Principal]]


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
        presented = bearer.parse_authorization(authorization)
        if presented is None:
            raise Rejected(Reason.TOKEN_MISSING)
        verified = resource_request.verify_signature(presented.token, self._desk.directory.published_keys())
        certificate = self._desk.certificates.find(scope)
        token = resource_request.verify(
            verified, presented, rules=self._rules, now=now, proved=proved, certificate=certificate
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
