"""Records as they are shown: what no document has a place for, no caller sees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from affiant.jose import base64url
from affiant.oauth import assertion
from affiant.server.admin import documents, roles
from affiant.server.credentials import keys as client_keys
from affiant.server.keys import calendar
from affiant.storage.entries import Revocation
from affiant.storage.records import Api, Client, ClientKey, InitialAccessToken, KeyUse, SigningKey

_POLICIES = [f"{rule}_policy" for rule in assertion.RULES]


def client(record: Client, now: float) -> documents.Client:
    """A client as it is shown."""
    return documents.Client(
        client_id=record.client_id,
        client_name=record.client_name,
        token_endpoint_auth_method=record.token_endpoint_auth_method,
        token_endpoint_auth_signing_alg=record.token_endpoint_auth_signing_alg,
        grant_types=list(record.grant_types),
        scope=list(record.scope),
        resources=list(record.resources),
        introspects=list(record.introspects),
        dpop_bound_access_tokens=record.dpop_bound_access_tokens,
        tls_client_certificate_bound_access_tokens=record.tls_client_certificate_bound_access_tokens,
        authorization_details_types=list(record.authorization_details_types),
        profile=record.profile,
        observe=list(record.observe),
        access_token_lifetime=record.access_token_lifetime,
        jwks_uri=record.jwks_uri,
        registered_itself=roles.registered_itself(record),
        enabled=record.enabled,
        created_at=record.created_at,
        keys=[_client_key(key, now) for key in record.keys],
        secrets=[
            documents.ClientSecret(id=s.id, created_at=s.created_at, expires_at=s.expires_at) for s in record.secrets
        ],
        **{policy: getattr(record, policy) for policy in _POLICIES},
        **dict([record.tls_subject] if record.tls_subject else []),
    )


def used(told: documents.Client, uses: Sequence[KeyUse]) -> documents.UsedClient:
    """Add the uses of a client's credentials, added up."""
    return documents.UsedClient(
        **told.model_dump(),
        uses=sum(use.count for use in uses),
        last_used_at=max((use.last_at for use in uses), default=None),
    )


def _client_key(key: ClientKey, now: float) -> documents.ClientKey:
    """Without how it was used: that is no part of what is registered, and would change the document's tag."""
    jwk: dict[str, Any] = json.loads(key.jwk)
    return documents.ClientKey(
        **{name: jwk.get(name) for name in ("kid", "kty", "crv", "alg")},
        state=client_keys.state(key, now),
        thumbprint=client_keys.thumbprint(key),
        source=key.source,
        created_at=key.created_at,
        not_before=key.not_before or None,
        expires_at=key.expires_at,
    )


def initial_access_token(record: InitialAccessToken) -> documents.InitialAccessToken:
    """An initial access token as it is shown."""
    return documents.InitialAccessToken(
        id=record.id,
        scope=list(record.scope),
        resources=list(record.resources),
        authorization_details_types=list(record.authorization_details_types),
        created_at=record.created_at,
        expires_at=record.expires_at,
        uses=record.uses,
    )


def api(record: Api) -> documents.Api:
    """An API as it is shown."""
    return documents.Api(
        identifier=record.identifier,
        name=record.name,
        scopes=list(record.scopes),
        is_default=record.is_default,
        created_at=record.created_at,
        signing_alg=record.signing_alg,
        authorization_details_types=list(record.authorization_details_types),
        access_token_lifetime=record.access_token_lifetime,
        access_token_typ=record.access_token_typ,
    )


def revocation(record: Revocation) -> documents.Revocation:
    """A revocation as it is shown."""
    return documents.Revocation(kind=record.kind, value=record.value, at=record.at, until=record.until)


def signing_key(record: SigningKey, among: Sequence[SigningKey], now: int) -> documents.SigningKey:
    """A signing key as it is shown."""
    return documents.SigningKey(
        kid=record.kid,
        alg=record.alg,
        line=record.line or None,
        state=calendar.state(record, among, now),
        announced_at=record.created_at,
        active_at=record.active_at or record.created_at,
        retiring_at=record.retiring_at,
        removed_at=record.removed_at,
    )


def etag(document: documents.Out) -> str:
    """What changes with the document (RFC 9110 section 8.8.3)."""
    return f'"{base64url.encode(sha256(document.model_dump_json().encode()).digest()[:16])}"'
