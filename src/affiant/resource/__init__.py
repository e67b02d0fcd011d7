"""The guard that an API puts in front of its routes."""

from affiant.resource.guard import Caller, Guard

__all__ = ["Caller", "Guard"]
