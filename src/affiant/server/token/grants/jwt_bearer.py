"""urn:ietf:params:oauth:grant-type:jwt-bearer (RFC 7523 section 2.1), for clients that act for themselves.

Clients of Kafka and Google send their assertion as the grant. It is the client's own (iss and sub are the client_id),
so it also authenticates the client. Google's libraries put the scope into the assertion, clients of Maskinporten the
resource too, and they send no parameters: the signed claims are the request.

Attack: parameters may ask for less than the claims, never for more. Otherwise an attacker with the assertion could get
more than the client signed.
"""

from __future__ import annotations

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.oauth.parameters.form import Form
from affiant.oauth.parameters.scope import are_covered
from affiant.server.request.caller import Caller
from affiant.server.request.notes import Request
from affiant.server.token import requested
from affiant.server.token.grants.base import Authorization


class JwtBearer:
    """The client requests a token for itself, with a grant that it signed."""

    grant_type = names.JWT_BEARER

    async def authorize(self, form: Form, caller: Caller, request: Request) -> Authorization:  # noqa: ARG002
        # No refresh token: RFC 7521 section 4.1.
        scope, signed = requested.scope(form), requested.parse_scope(caller.asked_scope)
        if scope is not None and signed is not None and not are_covered(scope, signed):
            raise Rejected(Reason.SCOPE_NOT_ALLOWED, expected=" ".join(signed))
        return Authorization(
            scope=signed if scope is None else scope,
            resource=requested.resource(form, signed=caller.asked_resource),
            details=requested.details(form),
        )
