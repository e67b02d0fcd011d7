"""urn:ietf:params:oauth:grant-type:jwt-bearer (RFC 7523 section 2.1), for clients that speak for themselves.

Kafka's clients and Google-style ones send their assertion as the grant. It is the client's own (iss and sub are the
client_id), so it goes up the very ladder of a client assertion; who is registered for this grant may use it.

Google's libraries name the scope in the assertion, Maskinporten's clients the resource too, and they send no parameter.
For this grant the signed claims are the request. Parameters may ask for less, never for more: otherwise an attacker
with the assertion could get more than the client signed.
"""

from __future__ import annotations

from affiant.errors import Rejected
from affiant.oauth import names
from affiant.oauth.parameters.form import Form
from affiant.oauth.parameters.scope import are_covered
from affiant.reasons import Reason
from affiant.server.request.caller import Caller
from affiant.server.token import requested
from affiant.server.token.grants.base import Authorization


class JwtBearer:
    """The client asks in its own name, by a grant that it signed."""

    grant_type = names.JWT_BEARER

    async def authorize(self, form: Form, caller: Caller, *, now: float) -> Authorization:  # noqa: ARG002
        """What the client asks for; no refresh token (RFC 7521 section 4.1: it has an assertion when it needs one)."""
        scope, signed = requested.scope(form), requested.parse_scope(caller.asked_scope)
        if scope is not None and signed is not None and not are_covered(scope, signed):
            raise Rejected(Reason.SCOPE_NOT_ALLOWED, expected=" ".join(signed))
        return Authorization(
            scope=signed if scope is None else scope,
            resource=requested.resource(form, signed=caller.asked_resource),
            details=requested.details(form),
        )
