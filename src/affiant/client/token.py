"""A token as a value. This module loads next to nothing, so that `$(affiant token)` is quick with a kept token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn


class NotPickled:
    """A value with a secret: it can be neither pickled nor copied."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and is not pickled: make it where it is used")


class TokenKey(NamedTuple):
    """The parameters of a token request; cached tokens are found by it."""

    resource: str | None
    scope: str | None
    authorization_details: str | None = None  # as JSON


@dataclass(frozen=True, slots=True)
class Token(NotPickled):
    """An access token.

    Attributes:
        value: the text for the Authorization header; not in repr or str.
        expires_at: seconds since the epoch.
        scope: the granted scope, as far as the server named it.
        token_type: ``Bearer`` or ``DPoP``.
        refresh_token: if the server issued one; not in repr or str.
        renew_at: seconds since the epoch; a Service then requests the next token.
        leeway: seconds before `expires_at` in which the token is no longer sent.
    """

    value: str = field(repr=False)
    expires_at: float
    scope: str | None
    token_type: str = "Bearer"  # noqa: S105
    refresh_token: str | None = field(default=None, repr=False)
    renew_at: float = field(default=0.0, repr=False)
    leeway: float = field(default=0.0, repr=False)

    def is_good(self, now: float) -> bool:
        """Whether the token can still be sent at this instant, in seconds since the epoch."""
        return now < self.expires_at - self.leeway
