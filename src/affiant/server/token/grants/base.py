"""The interface of a grant."""

from __future__ import annotations

from typing import Any, Protocol

from affiant.oauth.federation.transaction_token import Transaction
from affiant.oauth.parameters.authorization_details import Details
from affiant.oauth.parameters.form import Form
from affiant.server.request.caller import Caller, Ceiling
from affiant.server.request.notes import Request
from affiant.storage.entries import RefreshToken
from affiant.system.values import Value


class Subject(Value, frozen=True):
    """The subject of a token that was exchanged (RFC 8693), as the new token has it."""

    sub: str
    act: dict[str, Any] | None = None
    sub_profile: str | None = None
    parents: tuple[dict[str, Any], ...] = ()
    src: dict[str, Any] | None = None
    task: str | None = None
    transaction: Transaction | None = None  # of a transaction token


class Authorization(Value, frozen=True):
    """The request of an authenticated client; policy.py decides whether it gets that."""

    scope: tuple[str, ...] | None  # None: all that the client may have
    resource: tuple[str, ...]  # empty: the default
    may_refresh: bool = False  # whether a refresh token may come with the access token
    refresh_token: RefreshToken | None = None  # the used one, if the grant is a refresh
    presented: str | None = None  # its text, from which its successor is derived
    details: Details = ()  # authorization_details (RFC 9396)
    ceilings: tuple[Ceiling, ...] = ()  # of the grant, besides those of the caller
    subject: Subject | None = None  # None: the client itself
    requested_token_type: str | None = None  # of an exchange: what is issued (RFC 8693 section 3)
    must_bind: bool = False  # whether the token must be bound to a key that this request proves
    granted: Details = ()  # of the refresh token: without `details`, the entries for this resource are granted again

    def __repr__(self) -> str:
        return f"Authorization(scope={self.scope}, resource={self.resource})"


class Grant(Protocol):
    """One grant_type."""

    @property
    def grant_type(self) -> str:
        """Its name (RFC 6749, or a URN)."""

    async def authorize(self, form: Form, caller: Caller, request: Request) -> Authorization:
        """Return what the client requests, or raise Rejected."""
