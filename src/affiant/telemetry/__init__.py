"""What runs is measured here: metrics for Prometheus, and traces and metrics for OpenTelemetry, of all three sides."""
