"""The keys and secrets of clients: rotated without a gap, and revoked in an emergency."""

import json
from functools import partial
from typing import Any

from affiant.jose.keys import parse_public_jwk
from affiant.reasons import Reason
from affiant.server.admin import changes, documents, owners, views
from affiant.server.admin.documents import KeyCompleted, KeyNamed, KeyNew, SecretNamed, SecretNew
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import clients
from affiant.server.admin.routes.operation import Call, ClientId, Routes
from affiant.server.credentials import actions, completion, keys
from affiant.server.credentials.actions import Action

ROUTES = Routes("credentials")
_UNKNOWN = (Reason.ADMIN_NOT_FOUND,)


@ROUTES("GET /clients/{client_id}/keys", Role.VIEWER, answers=list[documents.HeldKey], refuses=_UNKNOWN)
async def list_client_keys(call: Call, client_id: ClientId) -> Any:
    """List a client's keys: what each may do, how it was used, and whether it can go."""
    found = await clients.get(call, client_id)
    held = completion.view(found.keys, await call.desk.store.key_uses.list(client_id), now=call.now)
    return [{**members, "jwk": json.loads(key.jwk)} for members, key in zip(held, found.keys, strict=True)]


@ROUTES("POST /clients/{client_id}/keys", Role.OPERATOR, answers=documents.Client, status=201, refuses=_UNKNOWN)
async def start_key_rotation(call: Call, client_id: ClientId, wanted: KeyNew) -> Any:
    """Add a client's next key; those before stay good until the rotation is completed."""
    added = keys.build(parse_public_jwk(wanted.jwk), now=call.now, not_before=wanted.not_before)
    return await _change(call, client_id, actions.add_key(added))


@ROUTES("POST /clients/{client_id}/keys/complete", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def complete_key_rotation(call: Call, client_id: ClientId, wanted: KeyCompleted) -> Any:
    """Retire a client's old key; the tokens that it obtained live until they expire."""
    return await _change(call, client_id, actions.retire_key(wanted.kid, overlap=wanted.overlap))


@ROUTES("POST /clients/{client_id}/keys/cancel", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def cancel_key_rotation(call: Call, client_id: ClientId, wanted: KeyNamed) -> Any:
    """Take a client's new key back."""
    return await _change(call, client_id, actions.cancel_key(wanted.kid))


@ROUTES("POST /clients/{client_id}/keys/revoke", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def revoke_client_key(call: Call, client_id: ClientId, wanted: KeyNamed) -> Any:
    """End a key that an attacker may have, and every token that it obtained."""
    return await _change(call, client_id, actions.revoke_key(wanted.kid))


@ROUTES(
    "POST /clients/{client_id}/secrets",
    Role.OPERATOR,
    answers=documents.RegisteredClient,
    status=201,
    refuses=_UNKNOWN,
)
async def start_secret_rotation(call: Call, client_id: ClientId, wanted: SecretNew) -> Any:
    """Give a client its next secret, which is in this answer and nowhere else ever; the old one stays good."""
    client = await clients.get(call, client_id)
    action, text = actions.add_secret(
        client, call.desk.master_key, now=call.now, name=wanted.id, old_expires_at=wanted.old_expires_at
    )
    changed = await _change(call, client_id, action)
    return documents.RegisteredClient(**changed.model_dump(), client_secret=text)


@ROUTES("POST /clients/{client_id}/secrets/complete", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def complete_secret_rotation(call: Call, client_id: ClientId) -> Any:
    """End a client's old secret."""
    return await _change(call, client_id, actions.retire_secret())


@ROUTES("POST /clients/{client_id}/secrets/cancel", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def cancel_secret_rotation(call: Call, client_id: ClientId) -> Any:
    """End a client's new secret, and keep the old one."""
    return await _change(call, client_id, actions.cancel_secret())


@ROUTES("POST /clients/{client_id}/secrets/revoke", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def revoke_client_secret(call: Call, client_id: ClientId, wanted: SecretNamed) -> Any:
    """End a secret that an attacker may have, and every token that it obtained."""
    return await _change(call, client_id, actions.revoke_secret(wanted.id))


async def _change(call: Call, client_id: str, action: Action) -> documents.Client:
    await clients.get(call, client_id)  # its refusal says which client was perhaps meant
    record = changes.record(call, f"client {client_id}", outcome=action.outcome)
    # Judged within the commit: a client that has a role by then is for owners only.
    allow = partial(owners.check_escalation, call)
    changed = await actions.commit(call.desk.store, client_id, action, record=record, allow=allow)
    return views.client(changed, call.now)
