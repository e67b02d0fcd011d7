"""urn:ietf:params:oauth:grant-type:jwt-bearer (RFC 7523 section 2.1), for clients that speak for themselves.

Kafka's clients and Google-style ones send their assertion as the grant. It is the client's own (iss and sub are the
client_id), so it goes up the very ladder of a client assertion; who is registered for this grant may use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affiant.oauth import names
from affiant.server.token import requested
from affiant.server.token.grants.base import Authorization

if TYPE_CHECKING:
    from affiant.oauth.form import Form
    from affiant.server.client_auth.ladder import Authenticated


class JwtBearer:
    """The client asks in its own name, by a grant that it signed."""

    grant_type = names.JWT_BEARER

    async def authorize(self, form: Form, authenticated: Authenticated, *, now: float) -> Authorization:  # noqa: ARG002
        """What the client asks for; no refresh token (RFC 7521 section 4.1: it has an assertion when it needs one)."""
        return Authorization(scope=requested.scope(form), resource=requested.resource(form))
