"""Sign-in to the console: one-time links, passkeys and sessions. No password exists."""

from affiant.server.console.signin.sessions import Sessions, Visitor

__all__ = ["Sessions", "Visitor"]
