"""Actions on APIs, signing keys and tokens."""

from affiant.server.console.actions.issuing import apis, keys, tokens

__all__ = ["apis", "keys", "tokens"]
