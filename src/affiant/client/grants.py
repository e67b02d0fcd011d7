"""Use a token to get another one: refresh, exchange, and tokens for one task."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from affiant.errors import LocalError
from affiant.system.later import Later

if TYPE_CHECKING:  # a cached token needs none of them
    from affiant.client.token import Token
    from affiant.oauth import names
    from affiant.oauth import token as token_messages
    from affiant.oauth.token import TokenResponse
else:
    names = Later("affiant.oauth.names")
    token_messages = Later("affiant.oauth.token")


class OtherGrants:
    """The part of Service that uses a token to get another one. Each call sends a request; nothing is cached."""

    _shape: Any

    def refresh(self, refresh_token: str, *, scope: str | None = None) -> TokenResponse:
        """Use a refresh token (RFC 6749 section 6); for clients registered with that grant.

        Raises:
            Refused: the refresh token is no longer valid.
            RemoteError: as `token`.
        """
        return self._send(token_messages.refresh_form(refresh_token, scope=scope))

    def exchange(
        self,
        subject_token: str,
        *,
        resource: str | None = None,
        scope: str | None = None,
        subject_token_type: str | None = None,
        requested_token_type: str | None = None,
    ) -> TokenResponse:
        """Exchange a token that this service received for one with which it acts for the same subject (RFC 8693).

        Args:
            subject_token: an access token whose audience this service is, or a token of an issuer that the server
                trusts.
            resource: the identifier of the API to call (RFC 8707).
            scope: to request, names separated by spaces; never more than the subject token has.
            subject_token_type: that of an access token when left out (section 3).
            requested_token_type: that of an access token when left out.

        Raises:
            Refused: the server's OAuth error.
            RemoteError: as `token`.
        """
        form = token_messages.exchange_form(
            subject_token,
            subject_token_type=subject_token_type or names.ACCESS_TOKEN_TOKEN_TYPE,
            requested_token_type=requested_token_type,
            scope=scope,
            resource=resource,
        )
        return self._send(form)

    async def aexchange(
        self,
        subject_token: str,
        *,
        resource: str | None = None,
        scope: str | None = None,
        subject_token_type: str | None = None,
        requested_token_type: str | None = None,
    ) -> TokenResponse:
        """Return the same as `exchange`, without blocking the event loop."""
        from asyncio import to_thread  # noqa: PLC0415 - a cached token needs no event loop

        asking = partial(
            self.exchange,
            subject_token,
            resource=resource,
            scope=scope,
            subject_token_type=subject_token_type,
            requested_token_type=requested_token_type,
        )
        return await to_thread(asking)

    def task_token(
        self, task: str, *, lifetime: int, scope: str | None = None, resource: str | None = None
    ) -> TokenResponse:
        """Return a token of this service for one task: with fewer rights, for less time, and revocable by the task.

        The client must be registered for token exchange, with which the server narrows its own token.

        Args:
            task: 1 to 128 visible ASCII characters without spaces; in the claim ``task``.
            lifetime: seconds, at most.
            scope: to request, names separated by spaces; all of the service when left out.
            resource: the identifier of the API (RFC 8707).

        Raises:
            Refused: the server's OAuth error.
            RemoteError: as `token`.
        """
        form = token_messages.exchange_form(
            self.token(resource).value,
            subject_token_type=names.ACCESS_TOKEN_TOKEN_TYPE,
            scope=scope,
            resource=resource,
            task=task,
            lifetime=lifetime,
        )
        return self._send(form)

    def _send(self, form: list[tuple[str, str]]) -> TokenResponse:
        if self._shape.is_grant:
            raise LocalError("a jwt-bearer grant does not authenticate the client: ask for a token again instead")
        return self._request(form)[0]

    if TYPE_CHECKING:  # members of Service

        def token(self, resource: str | None = None, scope: str | None = None) -> Token: ...

        def _request(self, form: list[tuple[str, str]]) -> tuple[TokenResponse, float]: ...
