"""The checks of `affiant doctor`. Each is a small function; one more is a function and its line in a list."""
