"""Audit sinks: every record of the log goes to a file, to syslog or to a webhook; in order, at least once."""
