"""Compact JWS, keys and algorithms (RFC 7515, 7517, 7518, 8037, 9964). No OAuth, no clock, no I/O."""
