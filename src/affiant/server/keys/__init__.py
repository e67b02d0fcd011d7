"""Keys of the server: the master key that seals, and the keys that sign tokens."""
