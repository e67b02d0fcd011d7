"""Clients that register themselves (RFC 7591) and look after what they registered (RFC 7592)."""
