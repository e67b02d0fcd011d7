"""`affiant console`."""
