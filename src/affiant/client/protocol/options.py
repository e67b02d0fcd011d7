"""The options of a Service that few programs need; `Service` says what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:  # for the types alone, and it loads the JOSE rooms
    from affiant.client.cache.stores.store import TokenStore
    from affiant.client.events import OnEvent
    from affiant.client.protocol.assertions import Extra
    from affiant.telemetry import Telemetry
    from affiant.telemetry.tracing.traces import Traces


class Options(TypedDict, total=False):
    """Where the server is, what its assertions must say, the password of the key, events, traces, and shared tokens."""

    token_endpoint: str | None
    reach: str | None
    unsafe_reach: str | None
    unsafe_http: bool
    unsafe_audience: str | None
    profile: str | None
    grant: str | None
    subject: str | None
    header: Extra | None
    claims: Extra | None
    lifetime: int | None
    on_event: OnEvent | None
    telemetry: Telemetry | None
    traces: Traces | None
    key_password: str | bytes | None
    store: TokenStore | None


def check(options: Options) -> None:
    """Raise TypeError for an option that is not known, as Python does for named parameters."""
    for name in options:
        if name not in Options.__annotations__:
            raise TypeError(f"Service got an unexpected keyword argument {name!r}")
