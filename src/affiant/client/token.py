"""A token as a value. It loads next to nothing: `$(affiant token)` with a kept token should cost nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

LONGEST_LIFETIME = 86_400  # seconds; what claims to live longer than a day is nonsense


class NotPickled:
    """A value that holds a secret: neither pickle nor copy takes it along."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and is not pickled: make it where it is used")


@dataclass(frozen=True, slots=True)
class Token(NotPickled):
    """An access token.

    Attributes:
        value: the text for the Authorization header; not in repr or str.
        expires_at: seconds since the epoch.
        scope: what was granted.
    """

    value: str = field(repr=False)
    expires_at: float
    scope: str | None
    token_type: str = "Bearer"  # noqa: S105
    refresh_token: str | None = field(default=None, repr=False)
    renew_at: float = field(default=0.0, repr=False)
    leeway: float = field(default=0.0, repr=False)

    def is_good(self, now: float) -> bool:
        """Whether it can still be sent."""
        return now < self.expires_at - self.leeway
