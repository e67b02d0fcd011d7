"""Authorization server metadata (RFC 8414), derived from what is mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from affiant.server.registry.profiles import Demands


def build(
    issuer: str, parts: Iterable[dict[str, Any]], *, demands: Demands, mtls_url: str | None = None
) -> dict[str, Any]:
    """The metadata of this server; the same members serve OpenID Connect discovery, for those who read only that.

    Args:
        issuer: its issuer identifier.
        parts: what each endpoint says of itself.
        demands: what every client is held to.
        mtls_url: where the endpoints are that ask for a certificate, instead of below the issuer.
    """
    document: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        # RFC 8414 section 2 requires the member, section 3.2 forbids it empty; clients need it, so it is empty.
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        # OpenID Connect Discovery requires the member; no ID token is ever signed.
        "id_token_signing_alg_values_supported": list(demands.algorithms or ("RS256",)),
        "service_documentation": f"{issuer}/errors",
    }
    for part in parts:
        document |= part
    if mtls_url is not None:  # RFC 8705 section 5
        named = [name for name in document if name.endswith("_endpoint")]
        document["mtls_endpoint_aliases"] = {name: mtls_url + document[name].removeprefix(issuer) for name in named}
    return document
