"""POST /revoke (RFC 7009): a client revokes its own tokens."""

from __future__ import annotations

from typing import ClassVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.claims import LEEWAY
from affiant.server.client_auth.endpoint import ClientEndpoint
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import Directory
from affiant.server.request import http
from affiant.server.request.description import Description
from affiant.server.request.endpoint import Context, required
from affiant.server.request.notes import Request
from affiant.server.token import active, binding, descriptions
from affiant.storage.entries import Revocation
from affiant.storage.ports import RefreshTokens

# Seconds after its expiry in which a token can still be revoked: an API with a slow clock, that also allows for clock
# differences, may accept the token as long.
_LATE = 2 * LEEWAY


class RevocationEndpoint(ClientEndpoint):
    """Revokes tokens for their clients."""

    name = "revoke"
    takes_platform_tokens: ClassVar[bool] = True
    description: ClassVar[Description] = descriptions.REVOCATION

    def __init__(
        self,
        context: Context,
        authenticator: Authenticator,
        *,
        directory: Directory,
        refresh_tokens: RefreshTokens,
        master_key: MasterKey,
    ) -> None:
        super().__init__(context, authenticator)
        self._directory = directory
        self._refresh_tokens = refresh_tokens
        self._master_key = master_key

    async def road(self, request: Request) -> http.Answer:
        request.notes.outcome = "revoked"
        form = await self.read_form(request)
        caller = await self.authenticate(form, request)
        binding.check_holder(caller.confirmation, None, caller.certificate)  # DPoP proofs are for the token endpoint
        # token_type_hint is not read: both kinds of token are searched (RFC 7009 section 2.1).
        token = required(form, "token")
        await self.check_limits(request)
        jtis, family = await self._find(token, caller.client_id, request)
        await self.commit(request, revocations=jtis, revoke_family=family)
        # RFC 7009 section 2.2: the same answer for a token that is unknown or revoked already.
        return http.Answer(200, {})

    async def _find(self, token: str, client_id: str, request: Request) -> tuple[tuple[Revocation, ...], str | None]:
        """Return the access token or the family to revoke; raise REVOCATION_FOREIGN for another client's."""
        notes = request.notes
        refresh = await self._refresh_tokens.find(self._master_key.digest(token))
        if refresh is not None:
            _check_owner(refresh.client_id, client_id)
            notes.detail = f"family {refresh.family}"
            return (), refresh.family
        access = active.find(token, self._directory, issuer=self._issuer, now=request.now, late=_LATE)
        if access is None:
            notes.detail = "unknown"
            return (), None
        _check_owner(access.client_id, client_id)
        notes.detail = f"jti {access.jti}"
        return (Revocation("jti", access.jti, int(request.now), access.expires_at),), None


def _check_owner(owner: str, client_id: str) -> None:
    # RFC 7009 section 2.1.
    if owner != client_id:
        raise Rejected(Reason.REVOCATION_FOREIGN)
