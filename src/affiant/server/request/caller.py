"""The client that a request has proved to come from."""

from __future__ import annotations

from affiant.oauth.binding.mtls import Certificate
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.profiles import Demands
from affiant.storage.entries import JtiClaim
from affiant.storage.records import Client
from affiant.system.values import Value


class Caller(Value, frozen=True):
    """An authenticated client."""

    registered: RegisteredClient
    method: str  # token_endpoint_auth_method (RFC 7591 section 2)
    claim: JtiClaim | None = None  # the jti, to be claimed in the commit of this request
    tolerates_repeat: bool = False  # a lost claim is recorded, not refused (guide profile, with its secret sent along)
    alg: str | None = None
    kid: str | None = None
    # Of the key (RFC 7638); the id of a secret; of the certificate (RFC 8705) if the client is registered by its name.
    thumbprint: str | None = None
    label: str | None = None  # the guide's free `sub`, for the audit log only
    observed: tuple[str, ...] = ()  # codes of the rules that it broke and that are only observed for this client
    # Claims of the assertion that matter only if it is also the grant (grants/jwt_bearer.py).
    asked_scope: object = None
    asked_resource: object = None
    certificate: Certificate | None = None  # of the TLS connection, whether or not it authenticated the client

    @property
    def client(self) -> Client:
        return self.registered.record

    @property
    def client_id(self) -> str:
        return self.registered.record.client_id

    @property
    def demands(self) -> Demands:
        return self.registered.demands
