"""The road up to the point where something is made of it: who asks, and what may they have?

`POST /token` issues and commits what is decided here; `explain` runs the same and does neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from affiant.errors import Rejected
from affiant.oauth import names
from affiant.oauth.binding.dpop import DpopProof
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters.form import Form
from affiant.reasons import Reason
from affiant.server.client_auth import tls_client
from affiant.server.client_auth.ladder import Authenticated, Ladder
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.request import http
from affiant.server.request.visit import Visit
from affiant.server.token import details, policy, requested
from affiant.server.token.dpop import Proofs
from affiant.server.token.grants.base import Authorization, Grant
from affiant.server.token.policy import Granted
from affiant.values import Value


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

    def lifetime(self, client: RegisteredClient | None) -> int:
        """Seconds that an access token of this client lives, unless an API has a shorter lifetime."""
        return (client.record.access_token_lifetime if client else None) or self._lifetime

    def metadata(self) -> dict[str, Any]:
        """What the server's metadata says of what can be asked for (RFC 8414 section 2)."""
        types = details.types(self._directory.apis)
        told = {"authorization_details_types_supported": types} if types else {}
        return {"grant_types_supported": list(self._grants), **self._proofs.metadata(), **told}

    async def decide(self, form: Form, scope: http.Scope, visit: Visit) -> Decision:
        """Find the grant, authenticate the client, and see what it may have; the visit notes how far this came."""
        visit.read(form)
        grant = self._find_grant(form)
        client = await self._ladder.authenticate(form, scope, visit)
        certificate = _certificate_to_bind(client.client, visit)
        proof = self._verify_proof(client.client, scope, visit)
        _check_may_use(client.client, grant)
        authorized = await grant.authorize(form, client, now=visit.now)
        granted = policy.grant(authorized, client.client, self._directory, lifetime=self._lifetime)
        visit.scope, visit.resource = " ".join(granted.scope), " ".join(granted.resource)
        return Decision(client, authorized, granted, proof, certificate)

    def breaches(
        self, form: Form, scope: http.Scope, client: RegisteredClient, visit: Visit, claims: dict[str, Any]
    ) -> list[Rejected]:
        """Return every refusal of this client's request that does not depend on its authentication.

        Nothing comes of it but words: `explain` lists what else is wrong with a request that is refused already.
        """
        signed = claims if form.get("grant_type") == names.JWT_BEARER else {}
        resource = partial(requested.resource, form, signed=signed.get("resource"))
        steps: tuple[Callable[[], object], ...] = (
            lambda: _certificate_to_bind(client, visit),
            lambda: self._verify_proof(client, scope, visit),
            lambda: _check_may_use(client, self._find_grant(form)),
            lambda: policy.find_apis(resource(), client, self._directory),
            lambda: policy.check_scope(
                requested.scope(form) or requested.parse_scope(signed.get("scope")),
                client,
                policy.find_apis(resource(), client, self._directory),
            ),
        )
        found: dict[Reason, Rejected] = {}
        for step in steps:
            try:
                step()
            except Rejected as refusal:
                found.setdefault(refusal.reason, refusal)
        return list(found.values())

    def _verify_proof(self, client: RegisteredClient, scope: http.Scope, visit: Visit) -> DpopProof | None:
        is_bound = _binds_certificate(client)
        return self._proofs.verify(http.header(scope, b"dpop"), client, visit, is_bound=is_bound)

    def _find_grant(self, form: Form) -> Grant:
        name = form.get("grant_type")
        if name is None:
            raise Rejected(Reason.MISSING_PARAMETER, expected="grant_type")
        grant = self._grants.get(name)
        if grant is None:
            raise Rejected(Reason.GRANT_UNSUPPORTED, expected=" or ".join(self._grants))
        return grant


def _check_may_use(client: RegisteredClient, grant: Grant) -> None:
    # RFC 6749 section 5.2, unauthorized_client.
    if grant.grant_type not in client.record.grant_types:
        raise Rejected(Reason.GRANT_NOT_ALLOWED, expected=" or ".join(client.record.grant_types))


def _binds_certificate(client: RegisteredClient) -> bool:
    record = client.record
    return record.token_endpoint_auth_method in tls_client.METHODS or record.tls_client_certificate_bound_access_tokens


def _certificate_to_bind(client: RegisteredClient, visit: Visit) -> Certificate | None:
    """The certificate that the token is bound to (RFC 8705 section 3), or None."""
    if not _binds_certificate(client):
        return None
    if visit.certificate is None:
        raise Rejected(Reason.CERTIFICATE_MISSING)
    return visit.certificate
