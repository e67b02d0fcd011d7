"""Whether a token still stands: what its server tells of it, or of all that do not (RFC 7662, RFC 9701)."""
