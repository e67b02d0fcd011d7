"""Changes to a client's keys and secrets: each is one commit with its record, and with the end of what a leak obtained.

Retiring lets tokens live until they expire. Revoking is for what somebody else may have: it ends the access tokens that
the credential obtained, and revokes the refresh tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from affiant.errors import ConfigError
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.oauth.revocations import of_key
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import client_keys
from affiant.server.registry.credentials import client_secrets, rotation
from affiant.server.registry.profiles import NONE, Demands
from affiant.server.request.identifiers import new_trace_id
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry, RefreshSelection, Revocation
from affiant.storage.ports import Store
from affiant.storage.records import Client, ClientKey, NotFound

Step = Callable[[Client], Client]
KeyStep = Callable[[tuple[ClientKey, ...]], tuple[ClientKey, ...]]
Leaked = Callable[[Client], str]
Allow = Callable[[Client], None]


def anybody(_: Client) -> None:
    """Let every client be changed: who asks may."""


def by_operator(by: str, now: int) -> AuditRecord:
    """What the record of a change begins with that no request asked for."""
    return AuditRecord(at=now, trace_id=new_trace_id(), endpoint="client-keys", outcome="", by=by)


async def change(
    store: Store,
    client_id: str,
    step: Step,
    *,
    record: AuditRecord,
    outcome: str,
    leaked: Leaked | None = None,
    allow: Allow = anybody,
) -> Client:
    """Change a client and record the change, in one commit."""

    def tell(before: Client, after: Client) -> list[Entry]:
        was, became = (_differing(one, other) for one, other in ((before, after), (after, before)))
        told = msgspec.structs.replace(
            record, outcome=outcome, subject=f"client {client_id}", before=json.dumps(was), after=json.dumps(became)
        )
        return [Entry(told) if leaked is None else _end(told, client_id, leaked(before))]

    def judged(standing: Client) -> Client:
        allow(standing)
        return step(standing)

    return await store.clients.update(client_id, judged, tell=tell)


async def change_keys(store: Store, client_id: str, step: KeyStep, **asked: Any) -> Client:
    """The same for its keys alone: `step` is one of rotation.py."""

    def keys_step(client: Client) -> Client:
        return replace(client, keys=step(client.keys))

    return await change(store, client_id, keys_step, **asked)


async def start_key_rotation(
    store: Store, client_id: str, key: PublicKey, *, record: AuditRecord, not_before: int = 0, allow: Allow = anybody
) -> Client:
    """Add a client's next key beside those that stand; what an operator registers needs no proof."""
    now = int(record.at)
    added = client_keys.build(key, now=now, not_before=not_before)

    def step(client: Client) -> Client:
        check_kept(client)
        check_fits(client, [key])
        client_keys.check_name(client.keys, added, now)
        return replace(client, keys=client_keys.add(client.keys, [added], now=now))

    return await change(store, client_id, step, record=record, outcome="started", allow=allow)


async def complete_key_rotation(
    store: Store, client_id: str, kid: str, *, record: AuditRecord, overlap: int = 0, allow: Allow = anybody
) -> Client:
    """Retire the old key: its tokens live until they expire. Whether that is safe, completion.judge says."""
    step = partial(rotation.retire, kid=kid, now=int(record.at), overlap=overlap)
    return await change_keys(store, client_id, step, record=record, outcome="completed", allow=allow)


async def cancel_key_rotation(
    store: Store, client_id: str, kid: str, *, record: AuditRecord, allow: Allow = anybody
) -> Client:
    """Take the new key back, whatever it was used for; a retiring one is used as before."""
    now = int(record.at)

    def step(keys: Sequence[ClientKey]) -> tuple[ClientKey, ...]:
        cancelled = client_keys.get(keys, kid, now)
        if client_keys.state(cancelled, now) == "announced":
            return rotation.cancel(keys, kid, now=now)
        resumed, name = tuple(keys), client_keys.thumbprint(cancelled)
        for key in client_keys.live(keys, now):
            other = client_keys.thumbprint(key)
            if client_keys.state(key, now) == "retiring" and other != name:
                resumed = rotation.resume(resumed, other, now=now)
        return rotation.retire(resumed, name, now=now)

    return await change_keys(store, client_id, step, record=record, outcome="cancelled", allow=allow)


async def revoke_key(store: Store, client_id: str, kid: str, *, record: AuditRecord, allow: Allow = anybody) -> Client:
    """End a key that somebody else may have, and all that it obtained; also when it is the last, or ended already."""
    now = int(record.at)
    step = partial(rotation.revoke, kid=kid, now=now, spares_one=False)

    def leaked(before: Client) -> str:
        return client_keys.thumbprint(client_keys.get(before.keys, kid, now))

    return await change_keys(store, client_id, step, record=record, outcome="revoked", leaked=leaked, allow=allow)


async def start_secret_rotation(
    store: Store,
    master_key: MasterKey,
    client_id: str,
    *,
    record: AuditRecord,
    old_expires_at: int | None = None,
    name: str | None = None,
    allow: Allow = anybody,
) -> tuple[Client, str]:
    """Give a client its next secret, which is shown this once; the old one stays good."""
    standing, now = await _find(store, client_id), int(record.at)
    text, made = client_secrets.make(
        client_id,
        auth_method=standing.token_endpoint_auth_method,
        alg=standing.token_endpoint_auth_signing_alg,
        master_key=master_key,
        now=now,
        name=name,
    )
    step = partial(client_secrets.start, added=made, now=now, old_expires_at=old_expires_at)
    return await change(store, client_id, step, record=record, outcome="started", allow=allow), text


async def complete_secret_rotation(
    store: Store, client_id: str, *, record: AuditRecord, allow: Allow = anybody
) -> Client:
    """End the old secret; the tokens that it obtained live until they expire."""
    step = partial(client_secrets.complete, now=int(record.at))
    return await change(store, client_id, step, record=record, outcome="completed", allow=allow)


async def cancel_secret_rotation(
    store: Store, client_id: str, *, record: AuditRecord, allow: Allow = anybody
) -> Client:
    """End the new secret, and keep the old one."""
    step = partial(client_secrets.cancel, now=int(record.at))
    return await change(store, client_id, step, record=record, outcome="cancelled", allow=allow)


async def revoke_secret(
    store: Store, client_id: str, secret_id: str, *, record: AuditRecord, allow: Allow = anybody
) -> Client:
    """End a secret that somebody else may have, and all that it obtained."""
    step = partial(client_secrets.revoke, name=secret_id, now=int(record.at))
    return await change(
        store, client_id, step, record=record, outcome="revoked", leaked=lambda _: secret_id, allow=allow
    )


def check_kept(client: Client) -> None:
    """Let a client pass whose keys are kept here."""
    if client.token_endpoint_auth_method != names.PRIVATE_KEY_JWT or client.jwks_uri is not None:
        raise ConfigError(f"{client.client_id} has no keys here: it authenticates otherwise, or by its jwks_uri")


def check_fits(client: Client, keys: Sequence[PublicKey], *, demands: Demands = NONE) -> None:
    """Let keys pass one of which the client can sign with."""
    alg = client.token_endpoint_auth_signing_alg
    if alg is not None and keys and not any(alg in key.algorithms for key in keys):
        raise ConfigError(f"a key for {alg}, for which the client is registered")
    if keys and not any(demands.allows_algorithm(alg) for key in keys for alg in key.algorithms):
        raise ConfigError(f"a key for one of: {', '.join(demands.algorithms or ())}")


def _end(told: AuditRecord, client_id: str, leaked: str) -> Entry:
    now = int(told.at)
    name = of_key(client_id, leaked) or ""
    ended = Revocation("key", name, now, now + LONGEST_TOKEN)
    return Entry(told, revocations=(ended,), revoke_refresh=RefreshSelection(client_id, key_thumbprint=leaked))


def _differing(client: Client, other: Client) -> dict[str, Any]:
    """The credentials of a client that are not the same in the other: their instants, never a secret."""
    keys = [_shown_key(key) for key in client.keys if key not in other.keys]
    secrets = [
        {"id": secret.id, "created_at": secret.created_at, "expires_at": secret.expires_at}
        for secret in client.secrets
        if secret not in other.secrets
    ]
    return {name: value for name, value in (("keys", keys), ("secrets", secrets)) if value}


def _shown_key(key: ClientKey) -> dict[str, Any]:
    instants = ("created_at", "not_before", "expires_at", "proved_at", "retiring_at", "revoked_at")
    known = {name: getattr(key, name) for name in instants if getattr(key, name)}
    return {"kid": key.kid, "thumbprint": client_keys.thumbprint(key), "source": key.source, **known}


async def _find(store: Store, client_id: str) -> Client:
    client = await store.clients.find(client_id)
    if client is None:
        raise NotFound(f"there is no client named {client_id}")
    return client
