"""The pages of what the server issues: APIs that tokens are for, the keys that sign them, the tokens."""

from affiant.server.console.pages.issuing import apis, keys, tokens

__all__ = ["apis", "keys", "tokens"]
