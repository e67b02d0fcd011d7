"""From metadata to the client that is stored, by the rules that hold for every client, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from affiant.errors import ConfigError, Rejected
from affiant.jose.key_set import KeySet
from affiant.oauth import names, registration
from affiant.oauth.parameters import scope as scopes
from affiant.oauth.registration import ClientMetadata
from affiant.reasons import Reason
from affiant.server.credentials import keys as client_keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import rules
from affiant.server.registry.addresses import Allowed, find_forbidden
from affiant.server.registry.profiles import Demands
from affiant.server.registry.rules import Registered
from affiant.storage.records import Client, ClientKey, InitialAccessToken

SOURCE = "registration"  # of the keys that a client registers itself


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a client may register itself for at most; it gets all of the resources.

    Attributes:
        grants: None for any.
        profile: what it is held to beyond that, because an operator said so.
    """

    scope: tuple[str, ...]
    types: tuple[str, ...]
    resources: tuple[str, ...]
    grants: tuple[str, ...] | None = None
    profile: str | None = None

    @classmethod
    def of_token(cls, token: InitialAccessToken) -> Bounds:
        """Those of an initial access token."""
        return cls(token.scope, token.authorization_details_types, token.resources)

    @classmethod
    def of_client(cls, client: Client) -> Bounds:
        """Those that were kept with a client."""
        reach = client.registration_scope, client.registration_types, client.resources
        return cls(*reach, client.registration_grants, client.profile)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a server holds every registration to.

    Attributes:
        methods: how clients may authenticate.
        demands: what is demanded of every client.
        issuers: of software statements that are trusted, each with its keys.
        allowed: hosts and networks of clients' key sets that need not be public.
        is_closed: whether a client could do what nobody registers itself for: a part in the admin API.
    """

    methods: tuple[str, ...]
    demands: Demands
    issuers: Mapping[str, KeySet]
    allowed: Allowed
    is_closed: Callable[[Client], bool]


def build(
    client_id: str,
    metadata: ClientMetadata,
    bounds: Bounds,
    *,
    policy: Policy,
    master_key: MasterKey,
    now: int,
    **more: Any,
) -> Registered:
    """The client of these metadata."""
    scope = _bounded_scope(metadata.scope, bounds.scope)
    _check_address(metadata.jwks_uri, policy.allowed)
    method = metadata.token_endpoint_auth_method
    if method not in policy.methods:
        expected = f"token_endpoint_auth_method to be one of {', '.join(policy.methods)}"
        raise Rejected(Reason.REGISTRATION_METADATA, expected=expected)
    try:
        built = rules.build_client(
            client_id,
            auth_method=method,
            master_key=master_key,
            now=now,
            alg=metadata.token_endpoint_auth_signing_alg,
            keys=metadata.jwks,
            scopes=scope,
            resources=bounds.resources,
            grant_types=_grants(metadata.grant_types, bounds.grants),
            profile=bounds.profile,
            demands=policy.demands,
            **_fields(metadata, bounds),
            **more,
        )
    except ConfigError as error:
        raise _unregistrable(error) from None
    # Whatever let it in: an initial access token may have been made where nobody looked at that.
    if policy.is_closed(built.client):
        raise Rejected(Reason.REGISTRATION_SCOPE, expected="no part in the admin API")
    keys = tuple(replace(key, source=SOURCE) for key in built.client.keys)
    return replace(built, client=replace(built.client, keys=keys))


def put(standing: Client, built: Registered, metadata: ClientMetadata, *, now: int) -> Registered:
    """The client with what was built in place of what it registered before (RFC 7592 section 2.2).

    What an operator decided about it stays, and so does a secret of the same kind. That its tokens are bound to a key
    can be asked for, and not taken back.
    """
    wanted, keeps_secret = built.client, _secret_kind(standing) == _secret_kind(built.client)
    client = replace(
        standing,
        token_endpoint_auth_method=wanted.token_endpoint_auth_method,
        token_endpoint_auth_signing_alg=wanted.token_endpoint_auth_signing_alg,
        keys=_put_keys(standing, metadata, now),
        jwks_uri=wanted.jwks_uri,
        secrets=standing.secrets if keeps_secret else wanted.secrets,
        grant_types=wanted.grant_types,
        scope=wanted.scope,
        tls_subject=wanted.tls_subject,
        authorization_details_types=wanted.authorization_details_types,
        client_name=wanted.client_name,
        metadata=wanted.metadata,
        dpop_bound_access_tokens=standing.dpop_bound_access_tokens or wanted.dpop_bound_access_tokens,
        tls_client_certificate_bound_access_tokens=standing.tls_client_certificate_bound_access_tokens
        or wanted.tls_client_certificate_bound_access_tokens,
    )
    return Registered(client, None if keeps_secret else built.client_secret)


def render(client: Client, now: float) -> dict[str, Any]:
    """All that is registered of a client, and no secret (RFC 7591 section 3.2.1)."""
    keys = [json.loads(key.jwk) for key in client_keys.live(client.keys, now)]
    members = {
        registration.CLIENT_ID: client.client_id,
        registration.ISSUED_AT: client.created_at,
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "token_endpoint_auth_signing_alg": client.token_endpoint_auth_signing_alg,
        "grant_types": list(client.grant_types),
        "response_types": [],
        "scope": scopes.render(client.scope) or None,
        "jwks": {"keys": keys} if keys else None,
        "jwks_uri": client.jwks_uri,
        "client_name": client.client_name,
        "tls_client_certificate_bound_access_tokens": client.tls_client_certificate_bound_access_tokens,
        "dpop_bound_access_tokens": client.dpop_bound_access_tokens,
        "authorization_details_types": list(client.authorization_details_types) or None,
        **dict([client.tls_subject] if client.tls_subject is not None else []),
        **json.loads(client.metadata or "{}"),
    }
    return {name: value for name, value in members.items() if value is not None}


def describe(client: Client, now: float) -> str:
    """The same as JSON text for the audit log: keys by their thumbprints, and no statement, which is a whole JWS."""
    left_out = ("jwks", registration.STATEMENT)
    members = {name: value for name, value in render(client, now).items() if name not in left_out}
    keys = [client_keys.thumbprint(key) for key in client_keys.live(client.keys, now)]
    return json.dumps({**members, "keys": keys})


def _fields(metadata: ClientMetadata, bounds: Bounds) -> dict[str, Any]:
    return {
        "details_types": _bounded(metadata.authorization_details_types, bounds.types),
        "tls_subject": metadata.tls_subject,
        "certificate_bound": _demand(metadata.tls_client_certificate_bound_access_tokens),
        "dpop": _demand(metadata.dpop_bound_access_tokens),
        "jwks_uri": metadata.jwks_uri,
        "client_name": metadata.client_name,
        "metadata": json.dumps(metadata.described),
        "registration_scope": bounds.scope,
        "registration_types": bounds.types,
    }


def _grants(wanted: tuple[str, ...], allowed: tuple[str, ...] | None) -> tuple[str, ...]:
    if allowed is None:
        # RFC 7591 section 2 would have authorization_code here, for which there is nobody to ask.
        return wanted or (names.CLIENT_CREDENTIALS,)
    if not set(wanted) <= set(allowed):
        raise Rejected(Reason.REGISTRATION_METADATA, expected=f"grant_types of: {' '.join(allowed)}")
    return wanted or allowed


def _demand(is_demanded: bool) -> str:  # noqa: FBT001 - as it was registered
    return "required" if is_demanded else "optional"


def _bounded(wanted: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    if not set(wanted) <= set(allowed):
        raise _unbounded(allowed)
    return wanted


def _bounded_scope(wanted: tuple[str, ...] | None, allowed: tuple[str, ...]) -> tuple[str, ...]:
    if wanted is not None and not scopes.are_covered(wanted, allowed):
        raise _unbounded(allowed)
    return allowed if wanted is None else wanted


def _unbounded(allowed: tuple[str, ...]) -> Rejected:
    return Rejected(Reason.REGISTRATION_SCOPE, expected=" ".join(allowed) or "none")


def _check_address(uri: str | None, allowed: Allowed) -> None:
    """Refuse at once what would be refused with each fetch; of a name, the address is seen only then."""
    host = urlsplit(uri).hostname if uri is not None else None
    try:
        address = ip_address(host or "")
    except ValueError:
        return
    if find_forbidden(str(host), [address], allowed) is not None:
        raise Rejected(Reason.REGISTRATION_JWKS_URI, detail="not a public address")


def _put_keys(standing: Client, metadata: ClientMetadata, now: int) -> tuple[ClientKey, ...]:
    if metadata.jwks_uri is not None:
        # Forgotten, not revoked: the set at the address mostly has the very keys that were registered.
        return tuple(key for key in standing.keys if client_keys.is_revoked(key, now))
    put_keys = client_keys.put_vouched if metadata.jwks else client_keys.put
    try:
        client_keys.check_certificates(metadata.token_endpoint_auth_method, standing.keys, metadata.jwks, now=now)
        return put_keys(standing.keys, metadata.jwks, now=now, source=SOURCE)
    except ConfigError as error:
        raise _unregistrable(error) from None


def _secret_kind(client: Client) -> tuple[bool, bool, str | None]:
    """What a secret is for: a secret that is recognised, or a key for one algorithm."""
    sealed = any(secret.sealed for secret in client.secrets)
    return bool(client.secrets), sealed, client.token_endpoint_auth_signing_alg if sealed else None


def _unregistrable(error: ConfigError) -> Rejected:
    return Rejected(Reason.REGISTRATION_METADATA, expected=f"other metadata: {error}")
