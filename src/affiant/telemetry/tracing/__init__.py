"""Traces of OpenTelemetry: the public class, what crosses from process to process, and the exporter of a server."""
