"""Metrics and traces of the server, the guard and the client.

`table` has every metric. `Telemetry` keeps the numbers and offers them to a registry of prometheus-client. `samples`
are numbers as plain values, which processes exchange by a `board`. `exposition` writes the text. `tracing` has the
traces of OpenTelemetry, and `Traces`; `meters` offers the metrics to OpenTelemetry.
"""

from affiant.telemetry.meters import to_opentelemetry
from affiant.telemetry.telemetry import Telemetry
from affiant.telemetry.tracing.traces import Traces

__all__ = ["Telemetry", "Traces", "to_opentelemetry"]
