"""The pages of the console, by their nouns."""

from affiant.server.console.pages import clients, events
from affiant.server.console.pages.home import overview, search, setup
from affiant.server.console.pages.page import PAGES

__all__ = ["PAGES", "clients", "events", "overview", "search", "setup"]
