"""Scope, resource and lifetime: what of an authorization is granted (RFC 8707, RFC 9068 section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affiant.errors import Rejected
from affiant.reasons import Reason
from affiant.server.registry.directory import GUIDE
from affiant.values import Value

if TYPE_CHECKING:
    from affiant.server.registry.directory import Directory, RegisteredClient
    from affiant.server.token.grants.base import Authorization
    from affiant.storage.records import Api

GUIDE_LIFETIME = 600  # seconds; the guide's tokens never live longer, whatever the setting


class Granted(Value, frozen=True):
    """What a token will say."""

    scope: tuple[str, ...]
    resource: tuple[str, ...]
    lifetime: int


def grant(authorization: Authorization, client: RegisteredClient, directory: Directory, *, lifetime: int) -> Granted:
    """What this client gets of what it asked for.

    Args:
        authorization: what the grant allows it to ask for.
        client: who asks.
        directory: knows the APIs.
        lifetime: seconds, of an access token.

    Raises:
        Rejected: RESOURCE_MISSING, RESOURCE_NOT_ALLOWED or SCOPE_NOT_ALLOWED.
    """
    apis = _apis(authorization.resource, client, directory)
    offered = {name for api in apis for name in api.scopes}
    allowed = tuple(name for name in client.record.scope if name in offered)
    if authorization.scope is not None and not set(authorization.scope) <= set(allowed):
        raise Rejected(Reason.SCOPE_NOT_ALLOWED, expected=" ".join(allowed) or "no scope")
    return Granted(
        scope=authorization.scope if authorization.scope is not None else allowed,
        resource=tuple(api.identifier for api in apis),
        lifetime=min(lifetime, GUIDE_LIFETIME) if client.record.profile == GUIDE else lifetime,
    )


def _apis(resource: tuple[str, ...], client: RegisteredClient, directory: Directory) -> list[Api]:
    default = directory.default_api
    allowed = client.record.resources or ((default.identifier,) if default else ())
    if not resource:
        if default is not None and default.identifier in allowed:
            return [default]
        if len(allowed) != 1:
            raise Rejected(Reason.RESOURCE_MISSING, expected=" or ".join(allowed))
        resource = allowed
    apis = [api for identifier in resource if identifier in allowed and (api := directory.api(identifier))]
    if len(apis) != len(resource):
        raise Rejected(Reason.RESOURCE_NOT_ALLOWED, expected=" or ".join(allowed))
    return apis
