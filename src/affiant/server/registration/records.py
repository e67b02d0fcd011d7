"""From the metadata of a client to the record that is stored: within its bounds, by the rules for every client."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose.key_set import KeySet
from affiant.oauth import names
from affiant.oauth.parameters import scope as scopes
from affiant.server.keys.master_key import MasterKey
from affiant.server.registration.metadata import Metadata, unregistrable
from affiant.server.registry import clients, fields, kinds
from affiant.server.registry.addresses import Allowed, find_forbidden
from affiant.server.registry.clients import Registered
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.fields import By
from affiant.server.registry.profiles import Demands
from affiant.storage.records import Client, ClientKey, InitialAccessToken

SOURCE = "registration"  # of the keys that a client registers itself


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a client may register for; it gets all of the resources."""

    scope: tuple[str, ...]
    types: tuple[str, ...]
    resources: tuple[str, ...]
    grants: tuple[str, ...] | None = None  # None for any
    profile: str | None = None  # set by an operator
    team: str | None = None  # that owns it

    @classmethod
    def of_token(cls, token: InitialAccessToken) -> Bounds:
        return cls(token.scope, token.authorization_details_types, token.resources, team=token.team)

    @classmethod
    def of_client(cls, client: Client) -> Bounds:
        reach = client.registration_scope, client.registration_types, client.resources
        return cls(*reach, client.registration_grants, client.profile)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of a server for every registration."""

    methods: tuple[str, ...]
    demands: Demands
    issuers: Mapping[str, KeySet]  # of trusted software statements
    allowed: Allowed  # hosts and networks of key sets that need not be public
    is_closed: Callable[[Client], bool]  # whether a client has a part in the admin API


def build(
    client_id: str,
    metadata: Metadata,
    bounds: Bounds,
    *,
    policy: Policy,
    master_key: MasterKey,
    now: int,
    registration_token: bytes | None = None,
    registered_by: str | None = None,
) -> Registered:
    """Return the client of these metadata, not stored yet; raise Rejected if it cannot be registered."""
    wanted = _bounded(Client(client_id, names.CLIENT_SECRET_BASIC), metadata.values, bounds)
    _check_address(wanted.jwks_uri, policy.allowed)
    if wanted.token_endpoint_auth_method not in policy.methods:
        expected = f"token_endpoint_auth_method to be one of {', '.join(policy.methods)}"
        raise Rejected(Reason.REGISTRATION_METADATA, expected=expected)
    wanted = replace(
        wanted,
        metadata=json.dumps(metadata.software),
        registration_token=registration_token,
        registered_by=registered_by,
    )
    try:
        built = clients.build(
            wanted, keys=metadata.jwks, source=SOURCE, master_key=master_key, now=now, demands=policy.demands
        )
    except ConfigError as error:
        raise unregistrable(error) from None
    # Attack: an initial access token that was made elsewhere opens the admin API.
    if policy.is_closed(built.client):
        raise Rejected(Reason.REGISTRATION_SCOPE, expected="no part in the admin API")
    return built


def put(stored: Client, built: Registered, metadata: Metadata, *, now: int) -> Registered:
    """Return the client with what was built in place of what it registered before (RFC 7592 section 2.2).

    Members that an operator set stay, and so does a secret of the same kind. A client can ask for bound tokens, but
    not take that back.
    """
    wanted, keeps_secret = built.client, _secret_kind(stored) == _secret_kind(built.client)
    values: dict[str, Any] = {"metadata": wanted.metadata, "tls_subject": wanted.tls_subject}
    for row in fields.CLIENT.by(By.CLIENT):
        if isinstance(row.kind, kinds.Flag):
            values[row.name] = getattr(stored, row.name) or getattr(wanted, row.name)
        elif not isinstance(row, fields.SubjectName):
            values[row.name] = getattr(wanted, row.name)
    secrets = stored.secrets if keeps_secret else wanted.secrets
    client = replace(stored, **values, keys=_put_keys(stored, wanted, metadata, now), secrets=secrets)
    return Registered(client, None if keeps_secret else built.client_secret)


def _bounded(client: Client, values: Mapping[str, Any], bounds: Bounds) -> Client:
    """Return the client with these values, and with its bounds where they leave the choice to the server."""
    scope, types = values.get("scope", bounds.scope), values.get("authorization_details_types", ())
    if not scopes.are_covered(scope, bounds.scope):
        raise _out_of_bounds(bounds.scope)
    if not set(types) <= set(bounds.types):
        raise _out_of_bounds(bounds.types)
    # RFC 7591 section 2 has authorization_code as the default, which needs a user.
    grants = values.get("grant_types", bounds.grants or client.grant_types)
    if bounds.grants is not None and not set(grants) <= set(bounds.grants):
        raise Rejected(Reason.REGISTRATION_METADATA, expected=f"grant_types of: {' '.join(bounds.grants)}")
    return replace(
        client,
        **{**values, "scope": scope, "grant_types": grants},
        resources=bounds.resources,
        profile=bounds.profile,
        team=bounds.team,
        registration_scope=bounds.scope,
        registration_types=bounds.types,
    )


def _out_of_bounds(allowed: Collection[str]) -> Rejected:
    return Rejected(Reason.REGISTRATION_SCOPE, expected=" ".join(allowed) or "none")


def _check_address(uri: str | None, allowed: Allowed) -> None:
    """Reject an address that every fetch would reject; a host name is resolved only by the fetch."""
    host = urlsplit(uri).hostname if uri is not None else None
    try:
        address = ip_address(host or "")
    except ValueError:
        return
    if find_forbidden(str(host), [address], allowed) is not None:
        raise Rejected(Reason.REGISTRATION_JWKS_URI, detail="not a public address")


def _put_keys(stored: Client, wanted: Client, metadata: Metadata, now: int) -> tuple[ClientKey, ...]:
    if wanted.jwks_uri is not None:
        # Removed, not revoked: the set at the address usually contains the registered keys.
        return tuple(key for key in stored.keys if client_keys.is_revoked(key, now))
    put_keys = client_keys.put_vouched if metadata.jwks else client_keys.put
    try:
        client_keys.check_certificates(wanted.token_endpoint_auth_method, stored.keys, metadata.jwks, now=now)
        return put_keys(stored.keys, metadata.jwks, now=now, source=SOURCE)
    except ConfigError as error:
        raise unregistrable(error) from None


def _secret_kind(client: Client) -> tuple[bool, bool, str | None]:
    """Return whether there is a secret, whether it is a key, and the one algorithm of that key."""
    sealed = any(secret.sealed for secret in client.secrets)
    return bool(client.secrets), sealed, client.token_endpoint_auth_signing_alg if sealed else None
