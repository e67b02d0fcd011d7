"""What runs is measured here, for all three sides.

`table` has every metric. `Telemetry` keeps the numbers and offers them to a registry of prometheus-client. `samples`
are numbers as plain values, which processes exchange by a `board`. `exposition` writes the text.
"""

from affiant.telemetry.telemetry import Telemetry

__all__ = ["Telemetry"]
