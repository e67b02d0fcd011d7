"""The guard that an API puts in front of its routes.

guard.py checks a request, also as a dependency of FastAPI; asgi.py wraps a whole application. A check is a generator,
which waiting.py runs with an event loop or without one. The other modules request what the guard needs from the issuer:
keys, revocations, introspection. The package imports `oauth`, and neither client nor server.
"""

from affiant.oauth.parameters.need import any_of
from affiant.oauth.resource_request import Proved
from affiant.resource.answers import Denied
from affiant.resource.guard import Caller, Guard
from affiant.resource.introspect import Introspection
from affiant.resource.metadata import ResourceMetadata

__all__ = ["Caller", "Denied", "Guard", "Introspection", "Proved", "ResourceMetadata", "any_of"]
