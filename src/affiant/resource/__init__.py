"""The guard that an API puts in front of its routes."""

from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.guard import Guard
from affiant.resource.introspect import Introspection
from affiant.resource.metadata import ResourceMetadata

__all__ = ["Caller", "Denied", "Guard", "Introspection", "ResourceMetadata"]
