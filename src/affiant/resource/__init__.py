"""The guard that an API puts in front of its routes.

guard.py checks a request; asgi.py and fastapi.py adapt it to frameworks. The other modules request what it needs from
the issuer: keys, revocations, introspection. The package imports `oauth`, and neither client nor server.
"""

from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.guard import Guard
from affiant.resource.introspect import Introspection
from affiant.resource.metadata import ResourceMetadata

__all__ = ["Caller", "Denied", "Guard", "Introspection", "ResourceMetadata"]
