"""Scope, resource, lifetime and authorization_details: what of an authorization is granted (RFC 8707, 9068, 9396)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.oauth.parameters.authorization_details import Details, locations
from affiant.oauth.parameters.scope import are_covered, is_covered
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.registry.profiles import GUIDE
from affiant.server.request.caller import Caller, Ceiling
from affiant.server.token.grants.base import Authorization
from affiant.storage.records import Api
from affiant.system.values import Value

# Decisions for one client, each about so few names: a client that asks in ever new ways must not fill the memory.
MAX_REMEMBERED, MAX_NAMES = 16, 16
GUIDE_LIFETIME = 600  # seconds; the longest lifetime of the guide's tokens


class Granted(Value, frozen=True):
    """The content of a token, with the algorithm and the typ that its APIs have chosen."""

    scope: tuple[str, ...]
    resource: tuple[str, ...]
    lifetime: int
    signing_alg: str = ""  # empty: the server's own
    details: Details = ()
    typ: str = names.ACCESS_TOKEN_TYP


def grant(authorization: Authorization, caller: Caller, directory: Directory, *, lifetime: int, now: float) -> Granted:
    """Return the scope, APIs and lifetime that this caller gets; `lifetime` is the server's setting, in seconds.

    Everything that limits a token is intersected here, and nowhere else: the client, the APIs, the rule that found the
    client, the token that is exchanged, and the request.
    """
    client, ceilings = caller.registered, (*caller.ceilings, *authorization.ceilings)
    is_refresh, details = authorization.refresh_token is not None, authorization.details or authorization.granted
    if client.demands.algorithms is not None or is_refresh or details:
        found = _grant(authorization, client, directory, lifetime, ceilings)
        return _until(_of_kind(found, authorization), ceilings, now)
    # A client asks for the same again and again. Only a change of the store changes what it gets, and that makes a new
    # RegisteredClient.
    asked = (authorization.scope, authorization.resource, *map(_lasting, ceilings))
    granted: Granted | None = client.granted.get(asked)
    if granted is None:
        granted = _grant(authorization, client, directory, lifetime, ceilings)
        if len(client.granted) < MAX_REMEMBERED and len(granted.scope) + len(granted.resource) <= MAX_NAMES:
            client.granted[asked] = granted
    return _until(_of_kind(granted, authorization), ceilings, now)


def preview(client: RegisteredClient, directory: Directory, resource: tuple[str, ...], *, lifetime: int) -> Granted:
    """Return what a token of this client would have that asks for these APIs, and for no scope; raise Rejected if none.

    It is for people to look at: nothing is issued by it.
    """
    apis = find_apis(resource, client, directory)
    return Granted(
        scope=check_scope(None, client, apis),
        resource=tuple(api.identifier for api in apis),
        lifetime=_lifetime(apis, client, lifetime),
        signing_alg=_signing_alg(apis, client, directory),
        typ=_typ(apis),
    )


def _of_kind(granted: Granted, authorization: Authorization) -> Granted:
    """Return the grant if the APIs take the kind of token that is requested; else raise Rejected."""
    # Attack: a transaction token serves as an access token, or the reverse.
    is_asked = authorization.requested_token_type == names.TXN_TOKEN_TYPE
    if is_asked != (granted.typ == names.TXN_TOKEN_TYP):
        wanted = f"requested_token_type={names.TXN_TOKEN_TYPE} for a trust domain, and for nothing else"
        raise Rejected(Reason.RESOURCE_NOT_ALLOWED, expected=wanted)
    return granted


def _lasting(ceiling: Ceiling) -> Ceiling:
    return replace(ceiling, not_after=None)


def _until(granted: Granted, ceilings: Sequence[Ceiling], now: float) -> Granted:
    """Return the grant with the lifetime that every layer leaves."""
    for ceiling in ceilings:
        if ceiling.not_after is not None and ceiling.not_after < int(now) + granted.lifetime:
            granted = replace(granted, lifetime=ceiling.not_after - int(now))
            if granted.lifetime < 1:
                raise Rejected(Reason.NOTHING_LEFT, expected="a token with time left", got=ceiling.layer)
    return granted


def _grant(
    authorization: Authorization,
    client: RegisteredClient,
    directory: Directory,
    lifetime: int,
    ceilings: Sequence[Ceiling],
) -> Granted:
    apis = find_apis(authorization.resource, client, directory, ceilings)
    signing_alg = _signing_alg(apis, client, directory)
    asked = authorization.scope
    allowed = check_scope(asked, client, apis, ceilings)
    details = authorization.details or tuple(
        entry
        for entry in authorization.granted
        if _is_for(entry, apis) and all(ceiling.has_details for ceiling in ceilings)
    )
    for entry in details:
        _check_details(entry, client, apis, ceilings)
    return Granted(
        scope=asked if asked is not None else _default_scope(allowed, authorization),
        resource=tuple(api.identifier for api in apis),
        lifetime=min([_lifetime(apis, client, lifetime), *(c.lifetime for c in ceilings if c.lifetime is not None)]),
        signing_alg=signing_alg,
        typ=_typ(apis),
        details=details,
    )


def find_apis(
    resource: tuple[str, ...], client: RegisteredClient, directory: Directory, ceilings: Sequence[Ceiling] = ()
) -> list[Api]:
    """Return the APIs that a token of this client will be for."""
    default, allowed = directory.default_api, directory.resources(client)
    for ceiling in ceilings:
        if ceiling.resources is not None:
            held, allowed = allowed, tuple(name for name in allowed if name in ceiling.resources)
            if held and not allowed:
                raise Rejected(Reason.NOTHING_LEFT, expected="a resource that every layer allows", got=ceiling.layer)
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


def check_scope(
    scope: tuple[str, ...] | None, client: RegisteredClient, apis: list[Api], ceilings: Sequence[Ceiling] = ()
) -> tuple[str, ...]:
    """Return the scope that the client may have at these APIs; raise SCOPE_NOT_ALLOWED if it asks for more.

    Where a layer leaves nothing of a scope, the request is refused: a token without scope would hide that.
    """
    offered = {name for api in apis for name in api.scopes}
    limits = [set(ceiling.scope) for ceiling in ceilings if ceiling.scope is not None]
    allowed = held = tuple(name for name in client.record.scope if is_covered(name, offered))
    for limit in limits:
        allowed = _narrowed(allowed, limit)
    # Two conditions: the client may have the name, and an API of the token knows it.
    if scope is not None and not all(are_covered(scope, limit) for limit in (client.record.scope, offered, *limits)):
        raise Rejected(Reason.SCOPE_NOT_ALLOWED, expected=" ".join(allowed) or "no scope")
    if held and not allowed:
        raise Rejected(Reason.NOTHING_LEFT, expected="a scope that every layer allows", got=_layers(ceilings))
    return allowed


def _narrowed(allowed: tuple[str, ...], limit: set[str]) -> tuple[str, ...]:
    """Return the names within both, also where one of them covers a narrower one of the other."""
    kept = [name for name in allowed if is_covered(name, limit)]
    return tuple(dict.fromkeys([*kept, *(name for name in sorted(limit) if is_covered(name, allowed))]))


def _layers(ceilings: Sequence[Ceiling]) -> str:
    return " and ".join(ceiling.layer for ceiling in ceilings if ceiling.scope is not None)


def details_types(apis: Iterable[Api]) -> list[str]:
    """Return the types of authorization_details that these APIs know, each once."""
    return sorted({name for api in apis for name in api.authorization_details_types})


def _default_scope(allowed: tuple[str, ...], authorization: Authorization) -> tuple[str, ...]:
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


def _signing_alg(apis: list[Api], client: RegisteredClient, directory: Directory) -> str:
    # A token has one signature. An API that has chosen no algorithm takes the server's, also after a change of it.
    algs = {api.signing_alg or "" for api in apis}
    if len(algs) > 1:
        named = " and ".join(sorted(filter(None, algs)))
        raise Rejected(Reason.RESOURCE_ALGORITHMS, expected="one resource", got=named)
    chosen, demanded = algs.pop(), client.demands.algorithms
    if demanded is not None and (alg := chosen or directory.signer.alg) not in demanded:
        raise Rejected(Reason.RESOURCE_ALGORITHM, expected=" or ".join(demanded), got=alg)
    return chosen


def _check_details(
    entry: dict[str, Any], client: RegisteredClient, apis: Sequence[Api], ceilings: Sequence[Ceiling]
) -> None:
    # Attack: a workload whose rule allows it one scope asks for details instead, which can say more than any scope.
    limit = next((ceiling for ceiling in ceilings if not ceiling.has_details), None)
    if limit is not None:
        raise Rejected(Reason.DETAILS_NOT_ALLOWED, expected=f"none: {limit.layer} limits the scope")
    # RFC 9396 section 5: the client gets all that it asks for, or nothing.
    places = set(locations(entry))
    identifiers = [api.identifier for api in apis]
    if not places <= set(identifiers):
        raise Rejected(Reason.DETAILS_NOT_ALLOWED, expected=f"locations among {' '.join(identifiers)}")
    if not _is_for(entry, apis) or entry["type"] not in client.record.authorization_details_types:
        named = [api for api in apis if not places or api.identifier in places]
        allowed = [name for name in details_types(named) if name in client.record.authorization_details_types]
        raise Rejected(Reason.DETAILS_NOT_ALLOWED, expected=f"type {' or '.join(allowed)}" if allowed else "none")


def _is_for(entry: dict[str, Any], apis: Sequence[Api]) -> bool:
    """Whether each location of the entry, or any API if it has none, is one of these APIs that knows its type."""
    places = set(locations(entry))
    knowing = {api.identifier for api in apis if entry["type"] in api.authorization_details_types}
    return places <= knowing and bool(knowing)
