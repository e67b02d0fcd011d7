"""The commands that get and use tokens."""
