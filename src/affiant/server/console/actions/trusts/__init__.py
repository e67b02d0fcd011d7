"""Actions on trusts and their rules."""

from affiant.server.console.actions.trusts import adding, changing

__all__ = ["adding", "changing"]
