"""Give a new client its credentials file, even after a killed run; or print what its owner must know."""
