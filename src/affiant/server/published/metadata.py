"""Authorization server metadata (RFC 8414), derived from what is mounted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from affiant.jose.key_set import KeySet
from affiant.server.registry.profiles import Demands


def build(
    issuer: str, parts: Iterable[dict[str, Any]], *, keys: KeySet, demands: Demands, mtls_url: str | None = None
) -> dict[str, Any]:
    """Return the metadata of this server; OpenID Connect discovery serves the same members."""
    document: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        # RFC 8414 section 2 requires the member, section 3.2 forbids it empty; clients need it, so it is empty.
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": _signing_algorithms(keys, demands),
        "service_documentation": f"{issuer}/errors",
    }
    for part in parts:
        document |= part
    if mtls_url is not None:  # RFC 8705 section 5
        named = [name for name in document if name.endswith("_endpoint")]
        document["mtls_endpoint_aliases"] = {name: mtls_url + document[name].removeprefix(issuer) for name in named}
    return document


def _signing_algorithms(keys: KeySet, demands: Demands) -> list[str]:
    """Return the algorithms of the published keys, after those that a specification requires.

    No ID token is ever signed, but resource servers such as express-oauth2-jwt-bearer check the `alg` of access tokens
    against this member: an algorithm that is missing here makes them reject good tokens.
    """
    required = demands.algorithms or ("RS256",)  # OpenID Connect Discovery 3: RS256 MUST be included
    return [*required, *sorted({key.alg for key in keys.keys if key.alg is not None}.difference(required))]
