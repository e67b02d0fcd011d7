"""The past: the audit log as a chain, and counts by minute, hour and day."""
