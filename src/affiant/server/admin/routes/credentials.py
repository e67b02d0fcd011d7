"""The keys and secrets of clients: rotated without a gap, and revoked in an emergency."""

import json
from functools import partial
from typing import Any

from affiant.jose.keys import parse_public_jwk
from affiant.reasons import Reason
from affiant.server.admin import changes, documents, owners, shown
from affiant.server.admin.documents import KeyCompleted, KeyNamed, KeyNew, SecretNamed, SecretNew
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import clients
from affiant.server.admin.routes.declared import Call, ClientId, Routes
from affiant.server.registry.credentials import changes as credentials
from affiant.server.registry.credentials import shown as shown_keys

ROUTES = Routes("credentials")
_UNKNOWN = (Reason.ADMIN_NOT_FOUND,)


@ROUTES("GET /clients/{client_id}/keys", Role.VIEWER, answers=list[documents.HeldKey], refuses=_UNKNOWN)
async def list_client_keys(call: Call, client_id: ClientId) -> Any:
    """List a client's keys: what each may do, how it was used, and whether it can go."""
    found = await clients.get(call, client_id)
    held = shown_keys.keys(found.keys, await call.desk.store.key_uses.list(client_id), now=call.now)
    return [{**members, "jwk": json.loads(key.jwk)} for members, key in zip(held, found.keys, strict=True)]


@ROUTES("POST /clients/{client_id}/keys", Role.OPERATOR, answers=documents.Client, status=201, refuses=_UNKNOWN)
async def start_key_rotation(call: Call, client_id: ClientId, wanted: KeyNew) -> Any:
    """Add a client's next key; those before stay good until the rotation is completed."""
    asked = await _begin(call, client_id)
    key = parse_public_jwk(wanted.jwk)
    changed = await credentials.start_key_rotation(
        call.desk.store, client_id, key, **asked, not_before=wanted.not_before
    )
    return shown.client(changed, call.now)


@ROUTES("POST /clients/{client_id}/keys/complete", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def complete_key_rotation(call: Call, client_id: ClientId, wanted: KeyCompleted) -> Any:
    """Retire a client's old key; the tokens that it obtained live until they expire."""
    asked = await _begin(call, client_id)
    changed = await credentials.complete_key_rotation(
        call.desk.store, client_id, wanted.kid, **asked, overlap=wanted.overlap
    )
    return shown.client(changed, call.now)


@ROUTES("POST /clients/{client_id}/keys/cancel", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def cancel_key_rotation(call: Call, client_id: ClientId, wanted: KeyNamed) -> Any:
    """Take a client's new key back."""
    asked = await _begin(call, client_id)
    changed = await credentials.cancel_key_rotation(call.desk.store, client_id, wanted.kid, **asked)
    return shown.client(changed, call.now)


@ROUTES("POST /clients/{client_id}/keys/revoke", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def revoke_client_key(call: Call, client_id: ClientId, wanted: KeyNamed) -> Any:
    """End a key that somebody else may have, and every token that it obtained."""
    asked = await _begin(call, client_id)
    changed = await credentials.revoke_key(call.desk.store, client_id, wanted.kid, **asked)
    return shown.client(changed, call.now)


@ROUTES(
    "POST /clients/{client_id}/secrets",
    Role.OPERATOR,
    answers=documents.RegisteredClient,
    status=201,
    refuses=_UNKNOWN,
)
async def start_secret_rotation(call: Call, client_id: ClientId, wanted: SecretNew) -> Any:
    """Give a client its next secret, which is in this answer and nowhere else ever; the old one stays good."""
    asked = await _begin(call, client_id)
    changed, text = await credentials.start_secret_rotation(
        call.desk.store, call.desk.master_key, client_id, **asked, old_expires_at=wanted.old_expires_at, name=wanted.id
    )
    return documents.RegisteredClient(**shown.client(changed, call.now).model_dump(), client_secret=text)


@ROUTES("POST /clients/{client_id}/secrets/complete", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def complete_secret_rotation(call: Call, client_id: ClientId) -> Any:
    """End a client's old secret."""
    asked = await _begin(call, client_id)
    changed = await credentials.complete_secret_rotation(call.desk.store, client_id, **asked)
    return shown.client(changed, call.now)


@ROUTES("POST /clients/{client_id}/secrets/cancel", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def cancel_secret_rotation(call: Call, client_id: ClientId) -> Any:
    """End a client's new secret, and keep the old one."""
    asked = await _begin(call, client_id)
    changed = await credentials.cancel_secret_rotation(call.desk.store, client_id, **asked)
    return shown.client(changed, call.now)


@ROUTES("POST /clients/{client_id}/secrets/revoke", Role.OPERATOR, answers=documents.Client, refuses=_UNKNOWN)
async def revoke_client_secret(call: Call, client_id: ClientId, wanted: SecretNamed) -> Any:
    """End a secret that somebody else may have, and every token that it obtained."""
    asked = await _begin(call, client_id)
    changed = await credentials.revoke_secret(call.desk.store, client_id, wanted.id, **asked)
    return shown.client(changed, call.now)


async def _begin(call: Call, client_id: str) -> dict[str, Any]:
    """What the record of the change begins with, and to whom it may be made: who can sign for an owner is one.

    That is judged in the commit, where nobody can be given a role meanwhile.
    """
    await clients.get(call, client_id)
    record = changes.record(call, f"client {client_id}", outcome="")
    return {"record": record, "allow": partial(owners.check_escalation, call)}
