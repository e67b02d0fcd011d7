"""affiant: one service proves to another who it is, with a signed JWT.

The names here are loaded when they are used, so that the client never loads the server, nor the guard the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affiant.version import __version__

if TYPE_CHECKING:
    from affiant.client import Service
    from affiant.resource import Caller, Guard

__all__ = ["Caller", "Guard", "Service", "__version__"]

_ROOMS = {"Service": "affiant.client", "Guard": "affiant.resource", "Caller": "affiant.resource"}


def __getattr__(name: str) -> Any:
    """Load what is asked for (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing is loaded before it is asked for

    if name not in _ROOMS:
        raise AttributeError(f"module 'affiant' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
