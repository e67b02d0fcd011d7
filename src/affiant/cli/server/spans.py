"""The traces of `affiant serve`: begun with each worker, and sent before it ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from affiant.server.settings import Settings

if TYPE_CHECKING:  # it imports OpenTelemetry
    from affiant.server.request.audit.spans import Spans


@dataclass(frozen=True, slots=True)
class Tracing:
    """The spans of a worker; None when nothing is traced."""

    spans: Spans | None = None
    flush: Callable[[], None] | None = None

    def attach(self, built: Starlette) -> None:
        """Send what is left when this application has ended."""
        inner, flush = built.router.lifespan_context, self.flush
        if flush is None:
            return

        @contextlib.asynccontextmanager
        async def life(application: Starlette) -> AsyncIterator[Any]:
            try:
                async with inner(application) as state:
                    yield state
            finally:
                flush()  # nothing else runs on this event loop any more

        built.router.lifespan_context = life


def check(chosen: Settings) -> None:
    """Raise ConfigError if the settings want traces, and a package for them is missing."""
    if chosen.traces != "off":
        from affiant.telemetry.tracing import exporting

        exporting.check()


def begin(chosen: Settings, issuer: str) -> Tracing:
    """Return the traces that the settings want."""
    if chosen.traces == "off":
        return Tracing()
    from affiant.server.request.audit.spans import Spans
    from affiant.telemetry.tracing import exporting

    traces, flush = exporting.configure()
    return Tracing(Spans(traces, issuer, is_linked=chosen.traces == "linked"), flush)
