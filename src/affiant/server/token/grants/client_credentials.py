"""client_credentials (RFC 6749 section 4.4)."""

from __future__ import annotations

from affiant.oauth import names
from affiant.oauth.parameters.form import Form
from affiant.server.request.caller import Caller
from affiant.server.request.notes import Request
from affiant.server.token import requested
from affiant.server.token.grants.base import Authorization


class ClientCredentials:
    """The client requests a token for itself."""

    grant_type = names.CLIENT_CREDENTIALS

    async def authorize(self, form: Form, caller: Caller, request: Request) -> Authorization:  # noqa: ARG002
        return Authorization(
            scope=requested.scope(form),
            resource=requested.resource(form),
            details=requested.details(form),
            # RFC 6749 section 4.4.3: SHOULD NOT, so only for clients that are registered for it.
            may_refresh=names.REFRESH_TOKEN in caller.client.grant_types and caller.rule is None,
        )
