"""The pages of the console, by their nouns."""

from affiant.server.console.pages import account, audit, clients, events, issuing, trusts
from affiant.server.console.pages.home import overview, search, setup
from affiant.server.console.pages.page import PAGES
from affiant.server.console.pages.settings import server, teams, users

__all__ = [
    "PAGES",
    "account",
    "audit",
    "clients",
    "events",
    "issuing",
    "overview",
    "search",
    "server",
    "setup",
    "teams",
    "trusts",
    "users",
]
