"""The commands of the server itself."""
