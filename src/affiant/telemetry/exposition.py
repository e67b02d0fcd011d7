"""Write the metrics as text: the format of Prometheus, or OpenMetrics for a scraper that asks for it."""

from __future__ import annotations

from typing import NamedTuple

from affiant.telemetry.samples import Samples
from affiant.telemetry.telemetry import Source, Telemetry


class Page(NamedTuple):
    """The metrics, and the type of the text."""

    media_type: str
    text: bytes


def render(telemetry: Telemetry, accept: str = "") -> Page:
    """Return the page for a request with this Accept header."""
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - see Telemetry.registry

    encode, media_type = choose_encoder(accept)
    return Page(media_type, encode(telemetry.registry))


def render_of(source: Source, accept: str = "") -> Page:
    """Return the page with what one source has."""
    telemetry = Telemetry()
    telemetry.watch(source)
    return render(telemetry, accept)


def render_samples(samples: Samples) -> Page:
    """Return the page with these numbers."""
    return render_of(lambda: samples)
