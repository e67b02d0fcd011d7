"""POST /introspect (RFC 7662): an API asks whether a token still stands, and hears of tokens for itself alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affiant.errors import Rejected
from affiant.reasons import Reason
from affiant.server.request import http
from affiant.server.request.endpoint import ClientEndpoint, required
from affiant.server.token import standing

if TYPE_CHECKING:
    from affiant.server.client_auth.ladder import Authenticated
    from affiant.server.registry.directory import Directory
    from affiant.server.request.visit import Visit
    from affiant.storage.ports import Revocations

_INACTIVE = {"active": False}
_TOLD = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "cnf", "client_key")


class IntrospectionEndpoint(ClientEndpoint):
    """Answers for APIs."""

    def __init__(self, *, directory: Directory, revocations: Revocations, **shared: Any) -> None:
        super().__init__("introspect", **shared)
        self._directory = directory
        self._revocations = revocations

    async def road(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        """See Endpoint."""
        visit.outcome = "introspected"
        form, client = await self.enter(visit, scope, receive)
        token = required(form, "token")
        if not client.client.record.introspects:
            raise Rejected(Reason.INTROSPECTION_NOT_ALLOWED)
        await self.check_limits(visit)
        # token_type_hint is not read: only access tokens are introspected, whatever the hint (section 2.1).
        answer = await self._judge(token, client, visit)
        await self.commit_with(visit, client)
        return http.Answer(200, answer, [(b"x-trace-id", visit.trace_id.encode("ascii"))])

    async def _judge(self, token: str, client: Authenticated, visit: Visit) -> dict[str, Any]:
        found = standing.find(token, self._directory, issuer=self._issuer, now=visit.now)
        # Section 2.2: of a token that is none, that has ended or that is for others, nothing is told but that.
        if found is None or not set(found.audience) & set(client.client.record.introspects):
            return _INACTIVE
        visit.note = f"jti {found.jti}"
        owner = await self._directory.client(found.client_id)
        if owner is None or not owner.record.enabled or await standing.is_revoked(found, self._revocations):
            return _INACTIVE
        told = {name: found.claims[name] for name in _TOLD if name in found.claims}
        return {"active": True, **told, "token_type": "DPoP" if "cnf" in found.claims else "Bearer"}
