"""Authorization server metadata (RFC 8414), derived from what is mounted."""

from __future__ import annotations

from typing import Any

from affiant.jose.algorithms import ALGORITHMS, ASYMMETRIC
from affiant.server.client_auth.ladder import METHODS


def build(issuer: str, *, grant_types: list[str]) -> dict[str, Any]:
    """The metadata of this server; the same members serve OpenID Connect discovery, for those who read only that."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
        "grant_types_supported": grant_types,
        # RFC 8414 section 2 requires the member, section 3.2 forbids it empty; clients need it, so it is empty.
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "dpop_signing_alg_values_supported": list(ASYMMETRIC),
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "service_documentation": f"{issuer}/errors",
    }
