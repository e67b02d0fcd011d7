"""Events of a Service, for metrics and traces: what happened, and never a token, key or assertion."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal

from affiant.client.token import TokenKey
from affiant.errors import LocalError, Refused

if TYPE_CHECKING:  # it loads cryptography
    from affiant.client.cache.token_source import Fetch
    from affiant.client.protocol.flow import Offset
    from affiant.oauth.token import TokenResponse
    from affiant.telemetry import Telemetry

log: logging.Logger = logging.getLogger(__name__)

Name = Literal[
    "token.requested",
    "token.renewed",
    "token.failed",
    "api.retried",
    "breaker.opened",
    "breaker.half_open",
    "breaker.closed",
    "clock.offset",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a Service did.

    Attributes:
        name: ``token.requested``, then ``token.renewed`` (a token came, the first or the next) or ``token.failed``;
            ``api.retried``: an API refused the token or the proof, and the request is sent once more;
            ``breaker.opened``: requests to the server pause; ``breaker.half_open``: one is sent as a probe;
            ``breaker.closed``: the server works again; ``clock.offset``: the server's clock differs from ours.
        issuer: of the service.
        client_id: of the service.
        resource: that the token is for, or None.
        scope: that was requested, or None.
        seconds: how long the token request took, how long the pause is, or how far the server's clock is ahead.
        error: the OAuth error, or the name of the exception's class.
    """

    name: Name
    issuer: str
    client_id: str
    resource: str | None = None
    scope: str | None = None
    seconds: float | None = None
    error: str | None = None


OnEvent = Callable[[Event], object]


class Announcer:
    """Makes the events of one service. Its callers hold no lock."""

    def __init__(self, issuer: str, client_id: str, on_event: OnEvent) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._on_event = on_event
        self._has_failed = False

    def __call__(
        self, name: Name, key: TokenKey | None = None, *, seconds: float | None = None, error: str | None = None
    ) -> None:
        """Call the hook. Its exceptions are its own: the first is logged, and no call fails for it."""
        resource, scope = (key.resource, key.scope) if key is not None else (None, None)
        try:
            self._on_event(Event(name, self._issuer, self._client_id, resource, scope, seconds, error))
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                log.exception("on_event= failed at %s; later failures are not logged", name)

    def watch(self, fetch: Fetch, offset: Offset) -> Fetch:
        """Return `fetch` with its events."""

        def watched(key: TokenKey) -> tuple[TokenResponse, float]:
            begun, ahead = time.monotonic(), offset.seconds
            self("token.requested", key)
            try:
                found = fetch(key)
            except BaseException as error:
                code = error.error if isinstance(error, Refused) else type(error).__name__
                self("token.failed", key, seconds=time.monotonic() - begun, error=code)
                raise
            finally:
                if offset.seconds != ahead:
                    self("clock.offset", seconds=offset.seconds)
            self("token.renewed", key, seconds=time.monotonic() - begun)
            return found

        return watched


def make_announcer(
    issuer: str, client_id: str, on_event: Any, *, telemetry: Telemetry | None = None
) -> Announcer | None:
    """Return the announcer for this hook and for what counts its events, or None without either."""
    if on_event is not None and (not callable(on_event) or iscoroutinefunction(on_event)):
        raise LocalError("on_event= takes a plain function of one event: a thread calls it, and awaits nothing")
    if telemetry is not None:
        from affiant.client import measuring  # noqa: PLC0415 - few services are measured

        on_event = measuring.measured(telemetry, on_event)
    return Announcer(issuer, client_id, on_event) if on_event is not None else None
