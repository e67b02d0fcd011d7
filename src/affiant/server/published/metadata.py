"""Authorization server metadata (RFC 8414), derived from what is mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def build(issuer: str, parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The metadata of this server; the same members serve OpenID Connect discovery, for those who read only that.

    Args:
        issuer: its issuer identifier.
        parts: what each endpoint says of itself.
    """
    document: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        # RFC 8414 section 2 requires the member, section 3.2 forbids it empty; clients need it, so it is empty.
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "service_documentation": f"{issuer}/errors",
    }
    for part in parts:
        document |= part
    return document
