"""The choices of an operator, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from affiant.jose.key_set import KeySet
from affiant.oauth import names
from affiant.oauth.federation import delegation
from affiant.server.keys.calendar import Calendar
from affiant.server.published.revocations import MAX_WAITING
from affiant.server.registry import profiles
from affiant.server.registry.addresses import Allowed
from affiant.server.request.audit.archiving.keeping import Keep
from affiant.server.request.certificate import Certificates


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of an operator, for `affiant.server.app.build`; `Settings.options` has those of the settings.

    Attributes:
        access_token_lifetime: seconds.
        calendar: when signing keys follow each other.
        dpop_nonces: ``on`` to require a nonce of this server in DPoP proofs (RFC 9449 section 8), or ``off``.
        auth_methods: how clients may authenticate.
        demands: what every client must fulfil.
        authorization_endpoint: ``on`` to publish an authorization endpoint that refuses every request, or ``off``.
        console: ``on`` to serve the console, or ``off``.
        software_statement_issuers: trusted issuers of software statements, each with its keys (RFC 7591 section 2.3).
        certificates: where client certificates come from.
        jwks_uri_allowed: hosts and networks of clients' key sets that need not be public.
        max_waiting: how many requests may wait for a change of the revocation feed.
        mtls_url: base of the endpoints that request a certificate, if they have one of their own (RFC 8705 section 5).
        transaction_tokens: ``on`` to issue transaction tokens for APIs that are trust domains, or ``off``.
        exchange_depth: how many actors a token may have (RFC 8693 section 4.1).
        audit: how long audit records stay in the store, and the folder of older ones.
        fresh_seconds: how long a look at the store is trusted; 0 in tests, where a change must be seen at once.
    """

    access_token_lifetime: int = 600
    calendar: Calendar = field(default_factory=Calendar)
    dpop_nonces: str = "off"
    auth_methods: tuple[str, ...] = names.AUTH_METHODS
    demands: profiles.Demands = profiles.NONE
    authorization_endpoint: str = "off"
    console: str = "on"
    software_statement_issuers: Mapping[str, KeySet] = field(default_factory=dict)
    certificates: Certificates = field(default_factory=Certificates)
    jwks_uri_allowed: Allowed = field(default_factory=Allowed)
    max_waiting: int = MAX_WAITING
    mtls_url: str | None = None
    exchange_depth: int = delegation.DEPTH
    audit: Keep = field(default_factory=Keep)
    transaction_tokens: str = "off"
    fresh_seconds: float | None = None
