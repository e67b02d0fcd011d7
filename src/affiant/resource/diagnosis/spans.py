"""Spans of the checks of a guard: what was decided, why, and for which client; nothing else of the token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from opentelemetry.trace import Span, SpanKind, StatusCode

from affiant.errors import Rejected, RemoteError
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.diagnosis.counts import UNAVAILABLE
from affiant.resource.waiting import Steps
from affiant.telemetry.tracing import propagation
from affiant.telemetry.tracing.traces import Traces

NAME = "affiant.check"
Found = TypeVar("Found")


def checking(
    traces: Traces, steps: Steps[Found], *, audience: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Steps[Found]:
    """Return the steps of a check, in a span: a child of the current one, or else of the one in the request."""
    # Not the current one: a generator that is abandoned would leave it behind.
    span = traces.tracer.start_span(
        NAME,
        context=propagation.incoming(headers),
        kind=SpanKind.INTERNAL,
        attributes={"affiant.audience": audience},
        record_exception=False,
        set_status_on_exception=False,
    )
    try:
        found = yield from steps
    except (Rejected, RemoteError) as error:
        _refuse(span, error.reason.code if isinstance(error, Rejected) else None)
        raise
    else:
        _note(span, found)
        return found
    finally:
        span.end()


def _note(span: Span, found: object) -> None:
    if isinstance(found, Denied):
        _refuse(span, found.reason.code if found.reason is not None else None)
        return
    assert isinstance(found, Caller)  # noqa: S101 - a check finds nothing else
    span.set_attributes({"affiant.outcome": "accepted", "affiant.client_id": found.client_id})


def _refuse(span: Span, reason: str | None) -> None:
    if reason is not None:
        span.set_attributes({"affiant.outcome": "refused", "affiant.reason": reason})
        return
    span.set_attributes({"affiant.outcome": UNAVAILABLE, "error.type": UNAVAILABLE})
    span.set_status(StatusCode.ERROR, UNAVAILABLE)
