"""What may be done to APIs, signing keys and tokens."""

from affiant.server.console.actions.issuing import apis, keys

__all__ = ["apis", "keys"]
