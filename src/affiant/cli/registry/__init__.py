"""The commands that register services and APIs."""
