"""The actions of the console: every change there is, by its name."""

from affiant.server.console.actions import account, clients, issuing, mend, setup, teams, trusts, undo, users
from affiant.server.console.actions.action import ACTIONS

__all__ = [
    "ACTIONS",
    "account",
    "clients",
    "issuing",
    "mend",
    "setup",
    "teams",
    "trusts",
    "undo",
    "users",
]
