"""Spans in memory, by OpenTelemetry's own SDK."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from affiant.telemetry import Traces


@dataclass
class Recorded:
    """A provider and what it exported."""

    provider: TracerProvider = field(default_factory=TracerProvider)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def traces(self) -> Traces:
        return Traces(self.provider)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def only(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def text(self) -> str:
        """All that leaves the process."""
        return json.dumps([json.loads(span.to_json()) for span in self.spans])
