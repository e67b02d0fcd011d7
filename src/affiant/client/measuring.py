"""Count the events of services as metrics."""

from __future__ import annotations

from typing import Final

from affiant.client.events import Event, OnEvent
from affiant.telemetry import Telemetry

# Attack: a server sends ever new errors. These have a label of their own, and all others have one together.
_ERRORS: Final = frozenset({
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope", "invalid_target", "invalid_dpop_proof", "use_dpop_nonce", "invalid_authorization_details",
    "temporarily_unavailable", "server_error",
})  # fmt: skip
_UNREACHABLE: Final = "Unreachable"
_OUTCOMES: Final = {"token.renewed": "renewed", "token.failed": "failed"}
_open: set[tuple[str, str]] = set()  # breakers of this process, by issuer and client_id, as services share them


def measured(telemetry: Telemetry, on_event: OnEvent | None) -> OnEvent:
    """Return a hook that counts each event, and then calls the other hook."""

    def count(event: Event) -> None:
        _count(telemetry, event)
        if on_event is not None:
            on_event(event)

    return count


def _count(telemetry: Telemetry, event: Event) -> None:
    if event.name in _OUTCOMES:
        error = _error(event.error) if event.error is not None else ""
        telemetry.count("affiant_client_token_requests_total", _OUTCOMES[event.name], error)
        telemetry.times("affiant_client_token_seconds").observe(event.seconds or 0)
    elif event.name == "api.retried":
        telemetry.count("affiant_client_api_retries_total")
    elif event.name == "clock.offset":
        telemetry.set("affiant_client_clock_offset_seconds", number=event.seconds)
    elif event.name in ("breaker.opened", "breaker.closed"):
        change = _open.add if event.name == "breaker.opened" else _open.discard
        change((event.issuer, event.client_id))
        telemetry.set("affiant_client_breakers_open", number=len(_open))


def _error(code: str) -> str:
    if code == _UNREACHABLE:
        return "unreachable"
    return code if code in _ERRORS else "other"
