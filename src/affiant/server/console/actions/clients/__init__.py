"""Actions on clients."""

from affiant.server.console.actions.clients import bulk, credentials, registering, state

__all__ = ["bulk", "credentials", "registering", "state"]
