"""Scope, resource and lifetime: what of an authorization is granted (RFC 8707, RFC 9068 section 3)."""

from __future__ import annotations

from affiant.errors import Rejected
from affiant.oauth import names
from affiant.oauth.parameters.authorization_details import Details
from affiant.oauth.parameters.scope import are_covered, is_covered
from affiant.reasons import Reason
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.registry.profiles import GUIDE
from affiant.server.token import details
from affiant.server.token.grants.base import Authorization
from affiant.storage.records import Api
from affiant.values import Value

GUIDE_LIFETIME = 600  # seconds; the guide's tokens never live longer, whatever the setting


class Granted(Value, frozen=True):
    """The content of a token, with the algorithm and the typ that its APIs have chosen."""

    scope: tuple[str, ...]
    resource: tuple[str, ...]
    lifetime: int
    line: str = ""
    details: Details = ()
    typ: str = names.ACCESS_TOKEN_TYP


def grant(authorization: Authorization, client: RegisteredClient, directory: Directory, *, lifetime: int) -> Granted:
    """What this client gets of what it asked for."""
    apis = find_apis(authorization.resource, client, directory)
    line = _line(apis)
    demanded = client.demands.algorithms
    if demanded is not None and (alg := line or directory.signer.alg) not in demanded:
        raise Rejected(Reason.RESOURCE_ALGORITHM, expected=" or ".join(demanded), got=alg)
    asked = authorization.scope
    allowed = check_scope(asked, client, apis)
    return Granted(
        scope=asked if asked is not None else _unasked(allowed, authorization),
        resource=tuple(api.identifier for api in apis),
        lifetime=_lifetime(apis, client, lifetime),
        line=line,
        typ=_typ(apis),
        details=details.grant(authorization.details or details.at(authorization.granted, apis), client, apis),
    )


def check_scope(scope: tuple[str, ...] | None, client: RegisteredClient, apis: list[Api]) -> tuple[str, ...]:
    """Return what the client may have at these APIs."""
    offered = {name for api in apis for name in api.scopes}
    allowed = tuple(name for name in client.record.scope if is_covered(name, offered))
    # Two conditions: the client may have the name, and an API of the token knows it.
    if scope is not None and not (are_covered(scope, client.record.scope) and are_covered(scope, offered)):
        raise Rejected(Reason.SCOPE_NOT_ALLOWED, expected=" ".join(allowed) or "no scope")
    return allowed


def _unasked(allowed: tuple[str, ...], authorization: Authorization) -> tuple[str, ...]:
    """Scope when none is requested: all that is allowed; on refresh, what of the old grant is still allowed."""
    used = authorization.refresh_token
    return allowed if used is None else tuple(name for name in used.scope if is_covered(name, allowed))


def _lifetime(apis: list[Api], client: RegisteredClient, setting: int) -> int:
    """Return the lifetime of the token in seconds: the shortest one of its client and its APIs, else the setting.

    An API without a lifetime counts with the client's lifetime or the setting: another API in the token must not
    lengthen it.
    """
    own = client.record.access_token_lifetime
    limits = [api.access_token_lifetime or own or setting for api in apis]
    seconds = min([*limits, own]) if own else min(limits)
    return min(seconds, GUIDE_LIFETIME) if client.record.profile == GUIDE else seconds


def _typ(apis: list[Api]) -> str:
    # Attack: a client names a second API to get a token with another typ for an API that accepts at+jwt only.
    types = sorted({api.access_token_typ for api in apis})
    if len(types) > 1:
        raise Rejected(Reason.RESOURCE_TYPES, expected="one resource", got=" and ".join(types))
    return types[0]


def _line(apis: list[Api]) -> str:
    # A token has one signature. An API that has chosen none takes what the server signs with, now and after a change.
    lines = {api.signing_alg or "" for api in apis}
    if len(lines) > 1:
        chosen = " and ".join(sorted(filter(None, lines)))
        raise Rejected(Reason.RESOURCE_ALGORITHMS, expected="one resource", got=chosen)
    return lines.pop()


def find_apis(resource: tuple[str, ...], client: RegisteredClient, directory: Directory) -> list[Api]:
    """Return the APIs that a token of this client will be for."""
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
