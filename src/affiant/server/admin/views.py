"""Documents of records: a caller sees only what a document has a member for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from affiant.server.admin import documents, roles
from affiant.server.keys import calendar
from affiant.server.registry import fields
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.federation.keys import explain
from affiant.server.registry.key_cache import NOT_FETCHED, Kept
from affiant.server.registry.remote_keys import Records
from affiant.storage.records import Api, Client, ClientKey, SigningKey


def client(record: Client, now: float) -> documents.Client:
    return documents.Client(
        client_id=record.client_id,
        registered_itself=roles.registered_itself(record),
        created_at=record.created_at,
        keys=[_client_key(key, now) for key in record.keys],
        secrets=[
            documents.ClientSecret(id=s.id, created_at=s.created_at, expires_at=s.expires_at) for s in record.secrets
        ],
        **fields.CLIENT.render(record),
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


def fetched_keys(kept: Kept[Records], uri: str) -> documents.FetchedKeys:
    loaded, problem = kept.loaded, kept.problem
    found = loaded.keys.keys if loaded is not None else ()
    return documents.FetchedKeys(
        uri=uri,
        fetched_at=kept.fetched_at if loaded is not None else None,
        keys=[
            documents.FetchedKey(kid=key.kid, thumbprint=key.thumbprint, algorithms=sorted(key.algorithms))
            for key in found
        ],
        left_out=list(map(str, loaded.keys.left_out)) if loaded is not None else [],
        problem=explain(problem) if problem is not None else None if loaded is not None else NOT_FETCHED,
    )


def api(record: Api) -> documents.Api:
    return documents.Api(identifier=record.identifier, created_at=record.created_at, **fields.API.render(record))


def signing_key(
    record: SigningKey, among: Sequence[SigningKey], now: int, chosen: calendar.Calendar
) -> documents.SigningKey:
    is_last = calendar.find_held(calendar.of_line(among, record.line)) == record
    return documents.SigningKey(
        kid=record.kid,
        alg=record.alg,
        line=record.line or None,
        state=calendar.state(record, among, now),
        announced_at=record.created_at,
        active_at=record.active_at or record.created_at,
        retiring_at=record.retiring_at,
        removed_at=record.removed_at,
        kms=record.kms or None,
        next_due_at=calendar.due_at(record, chosen) if is_last and not calendar.is_removed(record, now) else None,
    )
