"""The state of a fake issuer."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from affiant.jose.keys import PrivateKey
from affiant.oauth import revocations
from affiant.testing.clock import Clock


class Published:
    """What a fake issuer publishes. The thread of a test changes it, and that of the guards reads it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.keys: list[PrivateKey] = []  # the last one signs
        self.minted: dict[str, dict[str, Any]] = {}  # the claims of each token, for introspection
        self.revoked: list[tuple[str, str, int]] = []  # kind, value, at
        self.is_up = self.is_open = True
        self.version: int = 0  # of all of it
        self.changed: Future[None] = Future()  # done when the version is another one
        self.asked: threading.Condition = threading.Condition()

    def change(self) -> None:
        """Wake the requests that wait for a change."""
        # Order: a request that sees the new future sees the new version, too.
        self.version += 1
        last, self.changed = self.changed, Future[None]()
        last.set_result(None)

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the members of RFC 7662 section 2.2."""
        claims = self.minted.get(token)
        if claims is None or claims.get("exp", 0) <= self.clock.now or self._is_revoked(claims):
            return {"active": False}
        return {"active": True, **claims}

    def _is_revoked(self, claims: dict[str, Any]) -> bool:
        names = revocations.named(claims)
        return any((kind, value) in names and at >= names[kind, value] for kind, value, at in self.revoked)
