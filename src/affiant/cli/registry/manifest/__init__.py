"""The registry as a file: read it, plan the differences, apply them, and export the registry as such a file."""
