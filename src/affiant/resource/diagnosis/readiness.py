"""Whether a guard can check tokens now, for the probe of an orchestrator or a load balancer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from affiant.resource.issuer.trust import Trusted

OK, UNAVAILABLE = 200, 503
_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Readiness:
    """A whole response to a readiness probe.

    Attributes:
        status: of HTTP: 200, or 503 while no token can be checked.
        headers: of HTTP.
        body: a JSON object with ``status``, which is ``ok`` or ``failing``, and ``why`` if something is missing.
        why: what is missing. Of several issuers one is enough to be ready.
    """

    status: int
    body: bytes
    why: tuple[str, ...]
    headers: dict[str, str] = field(default_factory=lambda: dict(_HEADERS))

    @property
    def is_ready(self) -> bool:
        """Whether tokens can be checked now."""
        return self.status == OK


def judge(issuers: Iterable[Trusted]) -> Readiness:
    """Judge by what is known. What is missing is fetched in the background: a later probe finds it."""
    found = [_obstacles(trusted) for trusted in issuers]
    why = tuple(obstacle for obstacles in found for obstacle in obstacles)
    status = OK if [] in found else UNAVAILABLE
    members = {"status": "ok" if status == OK else "failing", **({"why": why} if why else {})}
    return Readiness(status, json.dumps(members).encode(), why)


def _obstacles(trusted: Trusted) -> list[str]:
    # A probe counts as a request: the feed of an API without requests would end, and be unknown at the next probe.
    trusted.warm_up()
    issuer, keys, feed = trusted.remote.identifier, trusted.keys.state(), trusted.revocations.state()
    why = []
    if not keys.is_usable:
        why.append(f"the keys of {issuer} are not known: {keys.failure or 'they are being fetched'}")
    if feed is not None and feed.is_required and not feed.is_current:
        why.append(f"the revocations of {issuer} are not known")
    return why
