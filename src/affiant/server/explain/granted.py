"""The access token that a request would get, and the limits of each layer."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from affiant.server.request.caller import Ceiling
from affiant.server.token.issue import Decision
from affiant.storage.records import Api, Client


class Limit(msgspec.Struct, omit_defaults=True):
    """The most that one layer of a request allows; None where the layer sets no limit."""

    layer: str
    scope: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    lifetime: int | None = None  # seconds


class Granted(msgspec.Struct):
    """The access token that the request would get, and the limits of each layer."""

    scope: tuple[str, ...]
    resource: tuple[str, ...]
    lifetime: int  # seconds
    limits: tuple[Limit, ...] = ()


def build(decision: Decision, apis: Iterable[Api], *, setting: int, now: float) -> Granted:
    """Return the token of this decision; `setting` is the server's lifetime of tokens, in seconds."""
    granted, asked = decision.granted, decision.authorization
    limits = [
        Limit("the request", asked.scope, asked.resource or None),
        Limit("the server", lifetime=setting),
        _of_client(decision.caller.client),
        *(_of_api(api) for api in apis if api.identifier in granted.resource),
        *(_of_ceiling(ceiling, now) for ceiling in (*decision.caller.ceilings, *asked.ceilings)),
    ]
    return Granted(granted.scope, granted.resource, granted.lifetime, tuple(limits))


def _of_client(client: Client) -> Limit:
    scope, resources = tuple(client.scope), tuple(client.resources) or None
    return Limit(f"client {client.client_id}", scope, resources, client.access_token_lifetime)


def _of_api(api: Api) -> Limit:
    return Limit(f"API {api.identifier}", tuple(api.scopes), lifetime=api.access_token_lifetime)


def _of_ceiling(ceiling: Ceiling, now: float) -> Limit:
    left = ceiling.not_after - int(now) if ceiling.not_after is not None else None
    seconds = [limit for limit in (ceiling.lifetime, left) if limit is not None]
    return Limit(ceiling.layer, ceiling.scope, ceiling.resources, min(seconds, default=None))
