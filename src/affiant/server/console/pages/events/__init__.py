"""Decisions: the list of all, live; one of them and why; and a request that was pasted."""

from affiant.server.console.pages.events import activity, debugger, event

__all__ = ["activity", "debugger", "event"]
