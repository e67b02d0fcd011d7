"""Clients, the services that may request tokens; and their keys and secrets, rotated without a gap."""

import json
from typing import Annotated, Any

from pydantic import Field

from affiant.errors import ConfigError
from affiant.jose.key_set import KeySet, describe
from affiant.jose.keys import PublicKey, parse_public_jwk
from affiant.oauth import names
from affiant.server.admin import changes, documents, lists, models, views
from affiant.server.admin.access import owners
from affiant.server.admin.documents import (
    ClientChanges,
    ClientNew,
    KeyCompleted,
    KeyNamed,
    KeyNew,
    SecretNamed,
    SecretNew,
)
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.federation import rules
from affiant.server.admin.routes.operation import (
    OF_CHANGES,
    OF_SECRETS,
    TAKEN,
    UNKNOWN,
    Call,
    ClientId,
    IfMatch,
    Reach,
    Routes,
)
from affiant.server.admin.routes.usage import budgets, used
from affiant.server.admin.routes.usage.used import Used
from affiant.server.explain import near
from affiant.server.registry import clients, fields, kinds
from affiant.server.registry.clients import Registered
from affiant.server.registry.credentials import actions, completion
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials import secrets as client_secrets
from affiant.server.registry.credentials.actions import Action
from affiant.server.registry.fields import By
from affiant.server.registry.remote_keys import Published
from affiant.storage.entries import LONGEST_TOKEN, RefreshSelection, Revocation
from affiant.storage.records import Client, NotFound
from affiant.storage.registry import OtherClient

CLIENTS, CREDENTIALS = Routes("clients"), Routes("credentials")
_Row = tuple[Client, Used | None]  # None: not in this list
_SCANNED = 10_000  # clients read for one page of those that are unused, or have a label
UnusedFor = Annotated[
    int | None, Field(ge=1, le=10**9, description="seconds: only clients that were not used for so long, or ever since")
]
OfTeam = Annotated[str | None, Field(max_length=64, description="only clients of this team")]
WithLabel = Annotated[str | None, Field(max_length=127, description="only clients with this label")]


@CLIENTS("GET /clients", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.UsedClient), is_list=True)
async def list_clients(
    call: Call,
    team: OfTeam = None,
    label: WithLabel = None,
    limit: Limit = 100,
    cursor: CursorText = None,
    unused_for: UnusedFor = None,
) -> Any:
    """List the clients, by name, with how each one is used.

    With `unused_for` or `label`, a page may be short and have a next one.
    """
    since = call.now - unused_for if unused_for is not None else None

    async def fetch(after: str, limit: int) -> list[_Row]:
        found = await _list(call, team, after, limit)
        names = [client.client_id for client in found if label is None or label in client.labels]
        if since is not None:
            uses = await used.find_last(call, names)
            by_name = {client.client_id: client for client in found}
            names = [name for name in names if uses[name].is_unused(by_name[name], since)]
        uses = await used.find(call, names)
        return [(client, uses.get(client.client_id)) for client in found]

    def show(row: _Row) -> list[documents.UsedClient]:
        client, use = row
        return [used.with_use(views.client(client, call.now), use)] if use is not None else []

    is_choice = since is not None or label is not None
    source = Source.paged(fetch, lambda row: row[0].client_id, show, scan=_SCANNED if is_choice else 0)
    return await lists.answer(call, limit, cursor, source)


async def _list(call: Call, team: str | None, after: str, limit: int) -> list[Client]:
    clients = call.context.store.clients
    if team is None:
        return await clients.list(after=after, limit=limit)
    return await clients.of_team(team, after=after, limit=limit)


@CLIENTS(
    "POST /clients",
    Role.OWNER,
    Reach.TEAMS,
    answers=documents.RegisteredClient,
    status=201,
    refuses=TAKEN,
    team_role=Role.OPERATOR,
)
async def register_client(call: Call, wanted: ClientNew) -> Any:
    """Register a client. A secret that is made for it is in this answer, and in no later one.

    With `client_secret` it keeps the secret that it has at another server, which no answer has.

    An operator of teams registers clients of these teams, with the scopes that they hold.
    """
    given, left_out = read_keys(call, wanted.jwks)
    built = build(call, wanted, given)
    owners.check_escalation(call, built.client)
    await check_blueprint(call, built.client)
    await call.context.store.clients.add(built.client, audit=_audit(call, built.client.client_id))
    shown = views.client(built.client, call.now)
    return documents.RegisteredClient(**shown.model_dump(), client_secret=built.client_secret, jwks_left_out=left_out)


async def check_blueprint(call: Call, client: Client) -> None:
    """Raise ConfigError unless the blueprint of the client, if it names one, can be that."""
    if client.blueprint is None:
        return
    clients.check_holder(client, await call.context.store.clients.find(client.blueprint))


def build(call: Call, wanted: ClientNew, given: KeySet | None) -> Registered:
    """Return the client of this document, not stored yet; raise ConfigError if a rule refuses it."""
    members = models.members(wanted, fields.CLIENT.by(By.NEW))
    client = fields.CLIENT.put(Client(wanted.client_id, names.PRIVATE_KEY_JWT), members)
    _check_method(call, client.token_endpoint_auth_method)
    owners.check_credentials(call, client)
    return clients.build(
        client,
        master_key=call.context.master_key,
        now=call.now,
        keys=given.keys if given is not None else (),
        demands=call.context.directory.demands,
        secret=client_secrets.Wanted(wanted.client_secret_id, wanted.client_secret),
    )


@CLIENTS("GET /clients/{client_id}", Role.VIEWER, Reach.TEAMS, answers=documents.UsedClient, refuses=UNKNOWN)
async def show_client(call: Call, client_id: ClientId) -> Any:
    """Show a client: its members, its public keys, and how it is used. No secret is shown."""
    found = await get(call, client_id)
    shown = changes.tagged(call, views.client(found, call.now))
    uses = await used.find(call, [client_id])
    asking = await used.find_asking(call, [client_id])
    over = (await budgets.find(call, [found])).get(client_id)
    return used.with_use(shown, uses[client_id], asking.get(client_id), over.sentence if over is not None else None)


@CLIENTS("PATCH /clients/{client_id}", Role.OPERATOR, Reach.TEAMS, answers=documents.ChangedClient, refuses=OF_CHANGES)
async def change_client(call: Call, client_id: ClientId, wanted: ClientChanges, if_match: IfMatch = None) -> Any:
    """Change a client. If it is disabled (`enabled`), its tokens end at once."""
    await get(call, client_id)
    given, left_out = read_keys(call, wanted.jwks)

    def change(stored: Client) -> Client:
        changes.check_match(if_match, views.client(stored, call.now))
        changed = build_changed(call, stored, wanted, given)
        owners.check_escalation(call, stored, changed)
        return changed

    async def act(condition: OtherClient | None) -> Client:
        return await call.context.store.clients.update(
            client_id, change, audit=_audit(call, client_id), condition=condition
        )

    changed = await owners.keeping_one(call, client_id, act)
    shown = changes.tagged(call, views.client(changed, call.now))
    return documents.ChangedClient(**shown.model_dump(), jwks_left_out=left_out)


@CLIENTS(
    "DELETE /clients/{client_id}",
    Role.OWNER,
    Reach.TEAMS,
    status=204,
    refuses=OF_CHANGES,
    team_role=Role.OPERATOR,
)
async def remove_client(call: Call, client_id: ClientId, if_match: IfMatch = None) -> None:
    """Remove a client, its keys, its refresh tokens and the rules that name it; its access tokens end at once."""
    await get(call, client_id)

    async def act(condition: OtherClient | None) -> None:
        unchanged = _unchanged(call, client_id, if_match, condition)
        await call.context.store.clients.remove(client_id, audit=_audit(call, client_id), condition=unchanged)

    await owners.keeping_one(call, client_id, act)


async def get(call: Call, client_id: str) -> Client:
    """Return the client of this name; raise NotFound if there is none."""
    found = await call.context.store.clients.find(client_id) if kinds.is_client_id(client_id) else None
    if found is None:
        raise unknown(client_id, *await near.find(call.context.store.clients, client_id))
    return found


def unknown(client_id: str, *similar: str) -> NotFound:
    """Return the refusal of an unknown name, with a similar name that is registered."""
    meant = f"did you mean {similar[0]}? See" if similar else "see"
    return NotFound(f"there is no client named {client_id}: {meant}  affiant client list")


def _unchanged(call: Call, client_id: str, if_match: str | None, condition: OtherClient | None) -> OtherClient:
    """Return a condition for the commit: this one, and that the client still matches If-Match."""

    def check(before: Client, after: Client | None, other: Client | None) -> None:
        owners.check_escalation(call, before)
        changes.check_match(if_match, views.client(before, call.now))
        if condition is not None:
            condition.check(before, after, other)

    return OtherClient(condition.client_id if condition is not None else client_id, check)


def build_changed(call: Call, stored: Client, wanted: ClientChanges, key_set: KeySet | None) -> Client:
    """Return the client with these changes, not stored yet; raise ConfigError if a rule refuses it."""
    members = models.members(wanted, fields.CLIENT.by(By.CHANGE))
    if "token_endpoint_auth_method" in members:
        _check_method(call, members["token_endpoint_auth_method"])
    if "observe" in members or wanted.enforce:
        members["observe"] = sorted({*stored.observe, *members.get("observe", ())} - set(wanted.enforce or ()))
    keys = _changed_keys(stored, key_set, wanted.own_keys, call.now)
    changed = clients.change(stored, members, now=call.now, keys=keys)
    owners.check_credentials(call, changed)
    return changed


def _changed_keys(stored: Client, key_set: KeySet | None, own_keys: str, now: int) -> tuple[PublicKey, ...] | None:
    """Return all keys that the client will have; with own_keys `keep`, also those that it added itself."""
    if key_set is None or own_keys != "keep":
        return key_set.keys if key_set is not None else None
    named = {key.thumbprint for key in key_set.keys}
    own = [client_keys.parse(key.jwk) for key in client_keys.live(stored.keys, now) if key.source != "operator"]
    return (*key_set.keys, *(key for key in own if key.thumbprint not in named))


def _check_method(call: Call, method: str) -> None:
    if method not in call.context.methods:
        raise ConfigError(f"this server takes clients that authenticate by: {', '.join(call.context.methods)}")


def read_keys(call: Call, jwks: dict[str, Any] | None) -> tuple[KeySet | None, list[str]]:
    """Return the keys, and the members of the set that are not registered; the audit record names those, too."""
    if jwks is None:
        return None, []
    given = KeySet.parse_given(jwks)
    call.request.notes.detail = describe(given.left_out) or None
    return given, list(map(str, given.left_out))


def _audit(call: Call, client_id: str) -> Any:
    def ends(_: Client | None, after: Client | None) -> changes.Ended | None:
        if after is not None and after.enabled:
            return None
        access = Revocation("client", client_id, call.now, call.now + LONGEST_TOKEN)
        return changes.Ended(access, RefreshSelection(client_id=client_id))

    audit = changes.audit(call, f"client {client_id}", lambda found: views.client(found, call.now), ends=ends)
    return rules.with_removed(call, audit)


@CREDENTIALS(
    "GET /clients/{client_id}/keys", Role.VIEWER, Reach.TEAMS, answers=list[documents.HeldKey], refuses=UNKNOWN
)
async def list_client_keys(call: Call, client_id: ClientId) -> Any:
    """List a client's keys: what each may do, how it was used, and whether it can go."""
    found = await get(call, client_id)
    held = completion.view(found.keys, await call.context.store.key_uses.list(client_id), now=call.now)
    return [{**members, "jwk": json.loads(key.jwk)} for members, key in zip(held, found.keys, strict=True)]


@CREDENTIALS(
    "GET /clients/{client_id}/fetched-keys",
    Role.OPERATOR,
    Reach.TEAMS,
    answers=documents.FetchedKeys,
    refuses=UNKNOWN,
)
async def show_fetched_keys(call: Call, client_id: ClientId) -> Any:
    """Fetch the keys at a client's jwks_uri now, at most once in 4 seconds, and show those that this process has."""
    uri = (await get(call, client_id)).jwks_uri
    if uri is None:
        return documents.FetchedKeys(uri=None, fetched_at=None, keys=[], left_out=[], problem=None)
    kept = await call.context.remote_keys.renew(Published(client_id, uri), now=call.request.now)
    return views.fetched_keys(kept, uri)


@CREDENTIALS(
    "POST /clients/{client_id}/keys",
    Role.OPERATOR,
    Reach.TEAMS,
    answers=documents.Client,
    status=201,
    refuses=OF_SECRETS,
)
async def start_key_rotation(call: Call, client_id: ClientId, wanted: KeyNew, if_match: IfMatch = None) -> Any:
    """Add a client's next key; those before stay good until the rotation is completed."""
    added = client_keys.build(parse_public_jwk(wanted.jwk), now=call.now, not_before=wanted.not_before)
    return await _change(call, client_id, actions.add_key(added), if_match)


@CREDENTIALS(
    "POST /clients/{client_id}/keys/complete", Role.OPERATOR, Reach.TEAMS, answers=documents.Client, refuses=OF_SECRETS
)
async def complete_key_rotation(call: Call, client_id: ClientId, wanted: KeyCompleted, if_match: IfMatch = None) -> Any:
    """Retire a client's old key; the tokens that it obtained live until they expire."""
    return await _change(call, client_id, actions.retire_key(wanted.kid, overlap=wanted.overlap), if_match)


@CREDENTIALS(
    "POST /clients/{client_id}/keys/cancel", Role.OPERATOR, Reach.TEAMS, answers=documents.Client, refuses=OF_SECRETS
)
async def cancel_key_rotation(call: Call, client_id: ClientId, wanted: KeyNamed, if_match: IfMatch = None) -> Any:
    """Take a client's new key back."""
    return await _change(call, client_id, actions.cancel_key(wanted.kid), if_match)


@CREDENTIALS(
    "POST /clients/{client_id}/keys/revoke", Role.OPERATOR, Reach.TEAMS, answers=documents.Client, refuses=OF_SECRETS
)
async def revoke_client_key(call: Call, client_id: ClientId, wanted: KeyNamed, if_match: IfMatch = None) -> Any:
    """End a key that an attacker may have, and every token that it obtained."""
    return await _change(call, client_id, actions.revoke_key(wanted.kid), if_match)


@CREDENTIALS(
    "POST /clients/{client_id}/secrets",
    Role.OPERATOR,
    Reach.TEAMS,
    answers=documents.RegisteredClient,
    status=201,
    refuses=OF_SECRETS,
)
async def start_secret_rotation(call: Call, client_id: ClientId, wanted: SecretNew, if_match: IfMatch = None) -> Any:
    """Give a client its next secret, which is in this answer and nowhere else ever; the old one stays good."""
    client = await get(call, client_id)
    action, text = actions.add_secret(
        client, call.context.master_key, now=call.now, name=wanted.id, old_expires_at=wanted.old_expires_at
    )
    changed = await _change(call, client_id, action, if_match)
    return documents.RegisteredClient(**changed.model_dump(), client_secret=text)


@CREDENTIALS(
    "POST /clients/{client_id}/secrets/complete",
    Role.OPERATOR,
    Reach.TEAMS,
    answers=documents.Client,
    refuses=OF_SECRETS,
)
async def complete_secret_rotation(call: Call, client_id: ClientId, if_match: IfMatch = None) -> Any:
    """End a client's old secret."""
    return await _change(call, client_id, actions.retire_secret(), if_match)


@CREDENTIALS(
    "POST /clients/{client_id}/secrets/cancel", Role.OPERATOR, Reach.TEAMS, answers=documents.Client, refuses=OF_SECRETS
)
async def cancel_secret_rotation(call: Call, client_id: ClientId, if_match: IfMatch = None) -> Any:
    """End a client's new secret, and keep the old one."""
    return await _change(call, client_id, actions.cancel_secret(), if_match)


@CREDENTIALS(
    "POST /clients/{client_id}/secrets/revoke", Role.OPERATOR, Reach.TEAMS, answers=documents.Client, refuses=OF_SECRETS
)
async def revoke_client_secret(call: Call, client_id: ClientId, wanted: SecretNamed, if_match: IfMatch = None) -> Any:
    """End a secret that an attacker may have, and every token that it obtained."""
    return await _change(call, client_id, actions.revoke_secret(wanted.id), if_match)


async def _change(call: Call, client_id: str, action: Action, if_match: str | None) -> documents.Client:
    await get(call, client_id)  # its refusal says which client was perhaps meant
    record = changes.record(call, f"client {client_id}", outcome=action.outcome)

    def allow(stored: Client) -> None:
        changes.check_match(if_match, views.client(stored, call.now))
        # Judged within the commit: a client that has a role by then is for owners only.
        owners.check_escalation(call, stored)

    changed = await actions.commit(call.context.store, client_id, action, record=record, allow=allow)
    return changes.tagged(call, views.client(changed, call.now))
