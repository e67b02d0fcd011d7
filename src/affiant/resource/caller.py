"""The caller of an API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Caller:
    """A client whose access token is valid here and now.

    Attributes:
        client_id: the client.
        sub: the subject; of a service the same as its client_id.
        scopes: the granted scopes.
        token_id: the token's jti, for logs.
        claims: all claims of the token.
    """

    client_id: str
    sub: str
    scopes: frozenset[str]
    token_id: str
    claims: dict[str, Any] = field(repr=False, compare=False)
