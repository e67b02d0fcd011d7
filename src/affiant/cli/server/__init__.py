"""The group Server: start it, and manage its settings, data and signing keys."""
