"""What a grant is."""

from __future__ import annotations

from typing import Protocol

from affiant.oauth.parameters.authorization_details import Details
from affiant.oauth.parameters.form import Form
from affiant.server.request.caller import Caller
from affiant.storage.entries import RefreshToken
from affiant.values import Value


class Authorization(Value, frozen=True):
    """What a grant allows an authenticated client to have.

    Attributes:
        scope: the names asked for, or None for all that the client may have.
        resource: the identifiers asked for; empty for the default.
        refresh_token: the one that is being used, where the grant is a refresh.
        presented: its text, from which its successor follows.
        may_refresh: whether a refresh token may come with the access token.
        details: the entries of authorization_details asked for (RFC 9396).
        granted: those that were granted before: where none are asked for, the ones that are for the resource.
    """

    scope: tuple[str, ...] | None
    resource: tuple[str, ...]
    may_refresh: bool = False
    refresh_token: RefreshToken | None = None
    presented: str | None = None
    details: Details = ()
    granted: Details = ()

    def __repr__(self) -> str:
        return f"Authorization(scope={self.scope}, resource={self.resource})"


class Grant(Protocol):
    """One grant_type."""

    @property
    def grant_type(self) -> str:
        """Its name (RFC 6749, or a URN)."""

    async def authorize(self, form: Form, caller: Caller, *, now: float) -> Authorization:
        """What this client may have by this request."""
