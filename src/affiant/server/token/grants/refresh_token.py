"""refresh_token (RFC 6749 section 6), for clients that are registered for it."""

from __future__ import annotations

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.oauth.parameters import authorization_details
from affiant.oauth.parameters.form import Form
from affiant.oauth.parameters.scope import are_covered
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.caller import Caller
from affiant.server.request.notes import Request
from affiant.server.token import requested
from affiant.server.token.grants.base import Authorization
from affiant.storage.ports import RefreshTokens


class RefreshTokenGrant:
    """The client sends a refresh token, and authenticates again."""

    grant_type = names.REFRESH_TOKEN

    def __init__(self, tokens: RefreshTokens, master_key: MasterKey) -> None:
        self._tokens = tokens
        self._master_key = master_key

    async def authorize(self, form: Form, caller: Caller, request: Request) -> Authorization:
        # Order: whether the token was used before is decided in the commit, where no other request can interfere.
        presented = form.get("refresh_token")
        if presented is None:
            raise Rejected(Reason.MISSING_PARAMETER, expected="refresh_token")
        token = await self._tokens.find(self._master_key.digest(presented))
        # A token of another client is as unknown as one that does not exist: its client is not disclosed.
        if token is None or token.client_id != caller.client_id:
            raise Rejected(Reason.REFRESH_UNKNOWN, detail="of another client" if token else "")
        if token.revoked_at is not None:
            raise Rejected(Reason.REFRESH_REVOKED)
        # A spent one goes on to the commit, however old: there its family is revoked.
        if token.spent_at is None and (token.expires_at <= request.now or token.idle_expires_at <= request.now):
            raise Rejected(Reason.REFRESH_EXPIRED)
        scope, resource = requested.scope(form), requested.resource(form)
        # RFC 6749 section 6 and RFC 8707 section 2.2: never more than was granted.
        if scope is not None and not are_covered(scope, token.scope):
            raise Rejected(Reason.SCOPE_NOT_ALLOWED, expected=" ".join(token.scope))
        if not set(resource) <= set(token.resource.split(" ")):
            raise Rejected(Reason.RESOURCE_NOT_ALLOWED, expected=token.resource)
        granted = authorization_details.parse(token.authorization_details) if token.authorization_details else ()
        details = requested.details(form)
        if not all(authorization_details.is_among(entry, granted) for entry in details):
            raise Rejected(Reason.DETAILS_NOT_ALLOWED, expected="what was granted before, or less")
        return Authorization(
            scope=scope,
            resource=resource or tuple(token.resource.split(" ")),
            may_refresh=True,
            refresh_token=token,
            presented=presented,
            details=details,
            granted=granted,
        )
