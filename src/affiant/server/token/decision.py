"""The road up to the point where something is made of it: who asks, and what may they have?

`POST /token` issues and commits what is decided here; `explain` runs the same and does neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affiant.errors import Rejected
from affiant.reasons import Reason
from affiant.server.client_auth import tls_client
from affiant.server.request import http
from affiant.server.token import details, policy
from affiant.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from affiant.oauth.binding.dpop import DpopProof
    from affiant.oauth.binding.mtls import Certificate
    from affiant.oauth.parameters.form import Form
    from affiant.server.client_auth.ladder import Authenticated, Ladder
    from affiant.server.registry.directory import Directory
    from affiant.server.request.visit import Visit
    from affiant.server.token.dpop import Proofs
    from affiant.server.token.grants.base import Authorization, Grant
    from affiant.server.token.policy import Granted


class Decision(Value, frozen=True):
    """What would be issued, and to whom; bound to the key of the proof and to the certificate, where there is one."""

    client: Authenticated
    authorization: Authorization
    granted: Granted
    proof: DpopProof | None = None
    certificate: Certificate | None = None


class Decider:
    """Decides about token requests; it stores nothing and claims no jti."""

    def __init__(
        self, ladder: Ladder, grants: Iterable[Grant], directory: Directory, *, proofs: Proofs, lifetime: int
    ) -> None:
        self._ladder = ladder
        self._proofs = proofs
        self._grants = {grant.grant_type: grant for grant in grants}
        self._directory = directory
        self._lifetime = lifetime

    def metadata(self) -> dict[str, Any]:
        """What the server's metadata says of what can be asked for (RFC 8414 section 2)."""
        types = details.types(self._directory.apis)
        told = {"authorization_details_types_supported": types} if types else {}
        return {"grant_types_supported": list(self._grants), **self._proofs.metadata(), **told}

    async def decide(self, form: Form, scope: http.Scope, visit: Visit) -> Decision:
        """Find the grant, authenticate the client, and see what it may have; the visit notes how far this came.

        Args:
            form: the parameters.
            scope: of the request, for its headers and its certificate.
            visit: the request.

        Raises:
            Rejected: a reason of rungs 2 to 10, or of the grant.
            StoreError: the store does not answer.
        """
        visit.read(form)
        grant = self._find_grant(form)
        client = await self._ladder.authenticate(form, scope, visit)
        certificate = _certificate_to_bind(client, visit)
        proof = self._proofs.verify(http.header(scope, b"dpop"), client, visit, is_bound=certificate is not None)
        _check_may_use(client, grant)
        authorized = await grant.authorize(form, client, now=visit.now)
        granted = policy.grant(authorized, client.client, self._directory, lifetime=self._lifetime)
        visit.scope, visit.resource = " ".join(granted.scope), " ".join(granted.resource)
        return Decision(client, authorized, granted, proof, certificate)

    def _find_grant(self, form: Form) -> Grant:
        name = form.get("grant_type")
        if name is None:
            raise Rejected(Reason.MISSING_PARAMETER, expected="grant_type")
        grant = self._grants.get(name)
        if grant is None:
            raise Rejected(Reason.GRANT_UNSUPPORTED, expected=" or ".join(self._grants))
        return grant


def _check_may_use(client: Authenticated, grant: Grant) -> None:
    # RFC 6749 section 5.2, unauthorized_client.
    if grant.grant_type not in client.client.record.grant_types:
        raise Rejected(Reason.GRANT_NOT_ALLOWED, expected=" or ".join(client.client.record.grant_types))


def _certificate_to_bind(client: Authenticated, visit: Visit) -> Certificate | None:
    """The certificate that the token is bound to (RFC 8705 section 3), or None.

    Raises:
        Rejected: CERTIFICATE_MISSING.
    """
    record = client.client.record
    if client.method not in tls_client.METHODS and not record.tls_client_certificate_bound_access_tokens:
        return None
    if visit.certificate is None:
        raise Rejected(Reason.CERTIFICATE_MISSING)
    return visit.certificate
