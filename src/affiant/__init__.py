"""affiant: OAuth for services that authenticate with signed JWTs (RFC 7523).

The names are loaded at their first use, so that a client does not load the guard, nor a guard the client.

PYTEST_DONT_REWRITE: affiant has a plugin (pytest_affiant.py), so pytest would warn if affiant was loaded before it.
"""

from __future__ import annotations

from affiant.system.version import __version__

TYPE_CHECKING = False  # of the module typing, which takes longer to load than this one
if TYPE_CHECKING:  # __getattr__ loads them
    from typing import Any

    from affiant.client import Service
    from affiant.resource import Caller, Guard, Issuer, any_of

__all__ = ["Caller", "Guard", "Issuer", "Service", "__version__", "any_of"]

_ROOMS = {
    "Service": "affiant.client",
    "Guard": "affiant.resource",
    "Caller": "affiant.resource",
    "Issuer": "affiant.resource",
    "any_of": "affiant.resource",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing is loaded before it is asked for

    if name not in _ROOMS:
        raise AttributeError(f"module 'affiant' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
