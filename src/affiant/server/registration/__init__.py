"""Clients that register themselves (RFC 7591) and manage their registrations (RFC 7592)."""
