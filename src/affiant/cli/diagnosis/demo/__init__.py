"""`affiant demo`."""
