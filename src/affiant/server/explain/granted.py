"""The access token that a request or a client would get, and the limits of each layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from affiant.errors import Rejected
from affiant.oauth.parameters.scope import render
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.request.caller import Ceiling, profile_of
from affiant.server.token import policy
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


class Preview(msgspec.Struct):
    """The access token that a client would get for one API, without a request of it; or why it would get none."""

    header: dict[str, str] = {}
    claims: dict[str, Any] = {}  # without those that are of one token alone: iat, exp, jti
    lifetime: int = 0  # seconds
    refused: str | None = None
    why: str | None = None


def preview(client: RegisteredClient, directory: Directory, resource: tuple[str, ...], *, setting: int) -> Preview:
    """Return the token of this client for this API, or for its usual ones if none is named."""
    try:
        granted = policy.preview(client, directory, resource, lifetime=setting)
    except Rejected as refusal:
        return Preview(refused=refusal.reason.code, why=f"{refusal.reason.value.sentence}: {refusal.expected}")
    name, audience = client.client_id, granted.resource
    claims = {
        "iss": directory.issuer,
        "sub": name,
        "client_id": name,
        "aud": audience[0] if len(audience) == 1 else list(audience),
        "scope": render(granted.scope),
        "sub_profile": profile_of(client.record),
    }
    header = {"typ": granted.typ, "alg": granted.signing_alg or directory.signer.alg}
    return Preview(header, {member: value for member, value in claims.items() if value}, granted.lifetime)
