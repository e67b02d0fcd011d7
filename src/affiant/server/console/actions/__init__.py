"""The actions of the console: every change there is, by its name."""

from affiant.server.console.actions import clients, issuing, mend, setup, trusts, undo
from affiant.server.console.actions.action import ACTIONS

__all__ = [
    "ACTIONS",
    "clients",
    "issuing",
    "mend",
    "setup",
    "trusts",
    "undo",
]
