"""The guard that an API puts in front of its routes."""

from affiant.resource.guard import Caller, Guard
from affiant.resource.introspect import Introspection
from affiant.resource.metadata import ResourceMetadata

__all__ = ["Caller", "Guard", "Introspection", "ResourceMetadata"]
