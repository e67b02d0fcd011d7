"""The pages of the console, by their nouns."""

from affiant.server.console.pages import clients, events
from affiant.server.console.pages.home import overview, search, setup
from affiant.server.console.pages.page import PAGES
from affiant.server.console.pages.settings import server

__all__ = ["PAGES", "clients", "events", "overview", "search", "server", "setup"]
