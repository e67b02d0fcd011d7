"""The guard that an API puts in front of its routes.

guard.py is the guard with its options; checks.py checks a request, as a generator which waiting.py runs with an event
loop or without one. frameworks/ has a module for each web framework. issuer/ gets what the guard needs from an issuer.
The package imports `oauth`, and neither client nor server.
"""

from affiant.oauth.access_token import ClaimRules
from affiant.oauth.parameters.need import any_of
from affiant.oauth.resource_request import Proved
from affiant.resource.answers import Denied
from affiant.resource.caller import Actor, Caller
from affiant.resource.credentials.api_keys import ApiKey, ApiKeys, Use, digest_of
from affiant.resource.credentials.transactions import TransactionToken, TxnGuard
from affiant.resource.frameworks.asgi import GuardMiddleware
from affiant.resource.frameworks.wsgi import GuardWsgiMiddleware
from affiant.resource.guard import Guard
from affiant.resource.issuer import presets
from affiant.resource.issuer.introspect import Introspection
from affiant.resource.issuer.trust import Issuer
from affiant.resource.metadata import ResourceMetadata

__all__ = [
    "Actor",
    "ApiKey",
    "ApiKeys",
    "Caller",
    "ClaimRules",
    "Denied",
    "Guard",
    "GuardMiddleware",
    "GuardWsgiMiddleware",
    "Introspection",
    "Issuer",
    "Proved",
    "ResourceMetadata",
    "TransactionToken",
    "TxnGuard",
    "Use",
    "any_of",
    "digest_of",
    "presets",
]
