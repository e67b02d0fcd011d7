"""A service's credentials: the file with its issuer, client_id and key, and how it is registered and rotated."""
