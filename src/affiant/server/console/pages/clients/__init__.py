"""The pages of clients."""

from affiant.server.console.pages.clients import client, listing, new

__all__ = ["client", "listing", "new"]
