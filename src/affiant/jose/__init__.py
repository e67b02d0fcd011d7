"""Compact JWS, keys and algorithms (RFC 7515, 7517, 7518, 8037). Knows nothing of OAuth, has no clock and does no I/O."""
