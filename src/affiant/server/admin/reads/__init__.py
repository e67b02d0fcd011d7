"""Reads of many rows: in pages and slices, so that a token never waits for an operator's list."""
