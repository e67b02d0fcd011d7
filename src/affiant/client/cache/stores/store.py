"""The interface of a store of shared tokens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class TokenStore(Protocol):
    """A store in which the processes of one client share its access tokens; `Service(store=...)` takes any object.

    A Service calls it on a thread of its own, never on an event loop. The first exception of a store is logged,
    and the token is requested without the store: a store never fails a caller. So it should raise within seconds if it
    cannot answer. For damaged content it returns None.

    A name is 64 characters of 0-9 and a-f. It differs for each client, each key that the client authenticates with or
    that the token is bound to, each resource and each scope. A value has a few kilobytes, and contains a secret.
    """

    def get(self, name: str) -> bytes | None:
        """Return the value of this name, or None."""

    def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep a value for so many seconds, in place of an earlier one; called by the holder of the lock.

        Readers get the old value or the new one, whole, also if this process is killed at any moment.
        """

    def remove(self, name: str) -> None:
        """Drop the value of this name, if there is one; called by the holder of the lock."""

    def lock(self, name: str, seconds: float) -> AbstractContextManager[object]:
        """Return a lock that one process at a time holds for this name.

        Entering it waits for so many seconds at most, and raises TimeoutError then. A holder that was killed keeps it
        for no longer.
        """
