"""Counts in memory, outside the path of requests: decisions, uses of credentials, and tokens against a budget."""
