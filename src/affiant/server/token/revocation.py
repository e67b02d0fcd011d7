"""POST /revoke (RFC 7009): a client ends its own tokens before their time."""

from __future__ import annotations

from typing import Any, ClassVar

from affiant.errors import Rejected
from affiant.jose.claims import LEEWAY
from affiant.reasons import Reason
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import Directory
from affiant.server.request import http
from affiant.server.request.described import Described
from affiant.server.request.endpoint import ClientEndpoint, required
from affiant.server.request.visit import Visit
from affiant.server.token import active, described
from affiant.storage.entries import Revocation
from affiant.storage.ports import RefreshTokens

# Seconds after its end in which a token can still be revoked: an API whose clock is behind, and that allows for clocks
# that differ, may take it as long.
_LATE = 2 * LEEWAY


class RevocationEndpoint(ClientEndpoint):
    """Ends tokens."""

    described: ClassVar[Described] = described.REVOCATION

    def __init__(
        self,
        *,
        directory: Directory,
        refresh_tokens: RefreshTokens,
        master_key: MasterKey,
        **shared: Any,
    ) -> None:
        super().__init__("revoke", **shared)
        self._directory = directory
        self._refresh_tokens = refresh_tokens
        self._master_key = master_key

    async def road(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        visit.outcome = "revoked"
        form, client = await self.enter(visit, scope, receive)
        token = required(form, "token")
        await self.check_limits(visit)
        # token_type_hint is not read: whatever it says, both kinds are searched (section 2.1).
        jtis, family = await self._find(token, client.client.client_id, visit)
        await self.commit_with(visit, client, revocations=jtis, revoke_family=family)
        # Section 2.2: the same for a token that is unknown, or gone already; the client wanted it gone.
        return http.Answer(200, {}, [(b"x-trace-id", visit.trace_id.encode("ascii"))])

    async def _find(self, token: str, client_id: str, visit: Visit) -> tuple[tuple[Revocation, ...], str | None]:
        """What is to be revoked."""
        refresh = await self._refresh_tokens.find(self._master_key.digest(token))
        if refresh is not None:
            _check_owner(refresh.client_id, client_id)
            visit.note = f"family {refresh.family}"
            return (), refresh.family
        access = active.find(token, self._directory, issuer=self._issuer, now=visit.now, late=_LATE)
        if access is None:
            visit.note = "unknown"
            return (), None
        _check_owner(access.client_id, client_id)
        visit.note = f"jti {access.jti}"
        return (Revocation("jti", access.jti, int(visit.now), access.expires_at),), None


def _check_owner(owner: str, client_id: str) -> None:
    # Section 2.1: a token that was issued to another client is not revoked.
    if owner != client_id:
        raise Rejected(Reason.REVOCATION_FOREIGN)
