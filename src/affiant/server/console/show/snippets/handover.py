"""The credentials file of a client, without its key: what `affiant client new` writes, and where a key goes into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affiant.system.files import VERSION


def members(client: Mapping[str, Any], issuer: str, *, kid: str | None = None) -> dict[str, Any]:
    """Return the members of the file; `key`, with this kid, or `client_secret` is to be added."""
    resources = client["resources"]
    found = {
        "affiant": VERSION,
        "issuer": issuer,
        "client_id": client["client_id"],
        "auth_method": client["token_endpoint_auth_method"],
        "alg": client["token_endpoint_auth_signing_alg"],
        "kid": kid,
        "scope": " ".join(client["scope"]) or None,
        "resource": resources[0] if len(resources) == 1 else None,
    }
    return {name: value for name, value in found.items() if value is not None}
