"""Every change of a client's credentials: add, prove, retire, cancel, revoke.

Retiring a credential leaves its tokens valid until they expire. Revoking is for one that an attacker may have: it ends
its access tokens and refresh tokens too. A step of a key that was taken before changes nothing, so a client can retry a
request whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from affiant.errors import ConfigError
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.oauth.revocations import of_key
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.credentials import keys, secrets
from affiant.storage.entries import LONGEST_TOKEN, AuditOutcome, AuditRecord, Entry, RefreshSelection, Revocation
from affiant.storage.ports import Store
from affiant.storage.records import Client, ClientKey, NotFound, StoredSecret

LONGEST_OVERLAP = 30 * 86_400  # seconds that a key may stay good after its successor took over
Keys = tuple[ClientKey, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """One change, as a value: `commit` applies it to the client as stored at that moment."""

    outcome: AuditOutcome
    step: Callable[[Client, int], Client]  # takes the time of the commit; raises ConfigError or NotFound
    detail: str | None = None  # for the audit log
    added: tuple[PublicKey, ...] = ()
    leaked: Callable[[Client, int], str] | None = None  # finds the credential whose tokens end: a thumbprint or id


async def commit(
    store: Store, client_id: str, action: Action, *, record: AuditRecord, allow: Callable[[Client], None] | None = None
) -> Client:
    """Change a client, write the audit record and end the tokens of a leaked credential, in one commit.

    `record` has who asks and when. `allow` raises an Error to refuse the client as it is stored at that moment: a
    judgement from before the commit may be outdated. So may the key that a kid names, which is looked up here too.
    """
    now = int(record.at)

    def step(client: Client) -> Client:
        if allow is not None:
            allow(client)
        return action.step(client, now)

    def audit(before: Client, after: Client) -> list[Entry]:
        subject = f"client {client_id}"
        written = msgspec.structs.replace(record, outcome=action.outcome, subject=subject, detail=action.detail)
        written = written.with_change(_view(before), _view(after))
        if action.leaked is None:
            return [Entry(written)]
        leaked = action.leaked(before, now)
        ended = Revocation("key", of_key(client_id, leaked) or "", now, now + LONGEST_TOKEN)
        refresh = RefreshSelection(client_id, key_thumbprint=leaked)
        return [Entry(written, revocations=(ended,), revoke_refresh=refresh)]

    return await store.clients.update(client_id, step, audit=audit)


def add_key(added: ClientKey) -> Action:
    """Add the client's next key; an unproved one may be added twice."""
    public = keys.parse(added.jwk)

    def step(client: Client, now: int) -> Client:
        check_kept(client)
        _check_fits(client, (public,))
        old = _find(client.keys, public.thumbprint, now) if added.proved_at is None else None
        if old is None:
            _check_kid(client.keys, added, now)
            return replace(client, keys=keys.add(client.keys, [added], now=now))
        if (old.kid, old.not_before, old.expires_at) != (added.kid, added.not_before, added.expires_at):
            raise ConfigError(f"the key is there already, as {old.kid}, and not for the same time")
        return client

    return Action("added", step, f"add {added.kid}", (public,))


def put_keys(wanted: tuple[PublicKey, ...], *, detail: str) -> Action:
    """Make the client's keys exactly these; the key that signs the request vouches for them."""

    def step(client: Client, now: int) -> Client:
        check_kept(client)
        _check_fits(client, wanted)
        return replace(client, keys=keys.put_vouched(client.keys, wanted, now=now))

    return Action("put", step, detail, wanted)


def prove_key(thumbprint: str) -> Action:
    """Put the key that has just signed into use: now, or at its `not_before`."""

    def step(held: Keys, now: int) -> Keys:
        key = _find(held, thumbprint, now)
        if key is None:
            raise NotFound("the key is no longer registered")
        return held if key.proved_at is not None else _changed(held, key, proved_at=now)

    return _of_keys("proved", step, "prove the key that signs")


def retire_key(name: str, *, overlap: int = 0, signer: str | None = None) -> Action:
    """End a key `overlap` seconds from now, because it has a successor.

    For all actions: `name` is a kid or a thumbprint; `signer` is the thumbprint of the client's key that asks, None for
    an operator.
    """

    def step(held: Keys, now: int) -> Keys:
        return _retired(held, name, now, overlap=overlap, signer=signer)

    return _of_keys("retired", step, f"retire {name}")


def cancel_key(name: str, *, signer: str | None = None) -> Action:
    """Take a new key back. An operator may do so when it is in use: then retiring keys are used as before."""

    def step(held: Keys, now: int) -> Keys:
        key = keys.get(held, name, now)
        state = keys.state(key, now)
        if state == "announced":
            return _changed(held, key, revoked_at=now)
        if signer is None:
            return _retired(_resumed(held, key, now), keys.thumbprint(key), now)
        if state == "revoked":
            return held
        raise ConfigError(f"the key {name} is {state}, not announced: retire it")

    return _of_keys("cancelled", step, f"cancel {name}")


def revoke_key(name: str, *, signer: str | None = None) -> Action:
    """End a key that an attacker may have, and its tokens. An operator may end the last key, too."""

    def step(held: Keys, now: int) -> Keys:
        key = keys.get(held, name, now)
        if keys.is_revoked(key, now):
            return held
        if signer is not None:
            _check_other(held, key, now, signer)
        return _changed(held, key, revoked_at=now)

    def leaked(client: Client, now: int) -> str:
        return keys.thumbprint(keys.get(client.keys, name, now))

    return _of_keys("revoked", step, f"revoke {name}", leaked)


def add_secret(
    client: Client, master_key: MasterKey, *, now: int, name: str | None = None, old_expires_at: int | None = None
) -> tuple[Action, str]:
    """Give a client its next secret; return its text too, which is stored nowhere. `name` is its id."""
    method, alg = client.token_endpoint_auth_method, client.token_endpoint_auth_signing_alg
    text, added = secrets.make(
        client.client_id, auth_method=method, alg=alg, master_key=master_key, now=now, wanted=secrets.Wanted(name)
    )

    def step(stored: Client, now: int) -> Client:
        if stored.token_endpoint_auth_method not in names.BY_SECRET:
            raise ConfigError(
                f"{stored.client_id} authenticates by {stored.token_endpoint_auth_method}: it has no secret"
            )
        live = secrets.live(stored.secrets, now)
        if len(live) > 1:
            raise ConfigError(f"a rotation of {stored.client_id}'s secret has begun already: complete or cancel it")
        if old_expires_at is not None and old_expires_at <= now:
            raise ConfigError("the old secret must end in the future; to end it now, complete the rotation")
        if any(secret.id == added.id for secret in stored.secrets):
            raise ConfigError(f"{stored.client_id} has a secret with the id {added.id} already: choose another id")
        old = (replace(secret, expires_at=old_expires_at or secret.expires_at) for secret in live)
        return replace(stored, secrets=(*old, added))

    return Action("added", step, f"add the secret {added.id}"), text


def retire_secret() -> Action:
    """End the old secret, because the new one is in use."""

    def step(client: Client, now: int) -> Client:
        old, new = _both(client, now)
        return replace(client, secrets=(replace(old, expires_at=now), new))

    return Action("retired", step)


def cancel_secret() -> Action:
    """End the new secret; the old one is used as before, and has no end."""

    def step(client: Client, now: int) -> Client:
        old, new = _both(client, now)
        return replace(client, secrets=(replace(old, expires_at=None), replace(new, expires_at=now)))

    return Action("cancelled", step)


def revoke_secret(name: str) -> Action:
    """End the secret of this id, which an attacker may have, and its tokens."""

    def step(client: Client, now: int) -> Client:
        if not any(secret.id == name for secret in client.secrets):
            raise NotFound(f"{client.client_id} has no secret {name}")
        ended = [
            replace(secret, expires_at=now) if secret.id == name and secrets.is_live(secret, now) else secret
            for secret in client.secrets
        ]
        return replace(client, secrets=tuple(ended))

    return Action("revoked", step, f"revoke the secret {name}", leaked=lambda *_: name)


def check_kept(client: Client) -> None:
    """Raise ConfigError if the client's keys are not kept here."""
    if client.blueprint is not None:
        raise ConfigError(f"the keys of {client.client_id} are those of its blueprint: change {client.blueprint}")
    if client.token_endpoint_auth_method != names.PRIVATE_KEY_JWT or client.jwks_uri is not None:
        raise ConfigError(f"{client.client_id} has no keys here: it authenticates otherwise, or by its jwks_uri")


def _check_fits(client: Client, added: Sequence[PublicKey]) -> None:
    alg = client.token_endpoint_auth_signing_alg
    if alg is not None and added and not any(alg in key.algorithms for key in added):
        raise ConfigError(f"a key for {alg}, for which the client is registered")


def _check_kid(held: Keys, added: ClientKey, now: int) -> None:
    others = [key for key in keys.live(held, now) if keys.thumbprint(key) != keys.thumbprint(added)]
    if any(key.kid == added.kid for key in others):
        raise ConfigError(f"another key of the client has the kid {added.kid}: give this one a kid of its own")


def _check_other(held: Keys, key: ClientKey, now: int, signer: str | None) -> None:
    """Keep a client from shutting itself out: another key is in use, and if the client asks, has just signed."""
    name = keys.thumbprint(key)
    if signer == name:
        raise ConfigError(f"the key {key.kid} cannot end itself: sign the request with its successor")
    others = (keys.state(other, now) for other in held if keys.thumbprint(other) != name)
    if "active" not in others:
        raise ConfigError(f"the key {key.kid} is the last that can be used: announce and prove another first")


def _of_keys(
    outcome: AuditOutcome,
    step: Callable[[Keys, int], Keys],
    detail: str,
    leaked: Callable[[Client, int], str] | None = None,
) -> Action:
    def of_client(client: Client, now: int) -> Client:
        return replace(client, keys=step(client.keys, now))

    return Action(outcome, of_client, detail, leaked=leaked)


def _retired(held: Keys, name: str, now: int, *, overlap: int = 0, signer: str | None = None) -> Keys:
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise ConfigError(f"overlap is 0 to {LONGEST_OVERLAP} seconds")
    key = keys.get(held, name, now)
    if keys.state(key, now) in ("retiring", "revoked"):
        return held
    if keys.state(key, now) == "announced":
        raise ConfigError(f"the key {name} is only announced: cancel it")
    _check_other(held, key, now, signer)
    return _changed(held, key, retiring_at=now, revoked_at=now + overlap)


def _resumed(held: Keys, successor: ClientKey, now: int) -> Keys:
    """Return the keys with all retiring ones, except the successor, in use as before."""
    for key in held:
        if keys.state(key, now) == "retiring" and keys.thumbprint(key) != keys.thumbprint(successor):
            held = _changed(held, key, retiring_at=None, revoked_at=None)
    return held


def _find(held: Keys, thumbprint: str, now: int) -> ClientKey | None:
    return next((key for key in keys.live(held, now) if keys.thumbprint(key) == thumbprint), None)


def _changed(held: Keys, key: ClientKey, **changes: Any) -> Keys:
    # All records of the key, one for each of its kids.
    name = keys.thumbprint(key)
    return tuple(replace(each, **changes) if keys.thumbprint(each) == name else each for each in held)


def _both(client: Client, now: int) -> tuple[StoredSecret, StoredSecret]:
    live = secrets.live(client.secrets, now)
    if len(live) < 2:  # noqa: PLR2004
        raise ConfigError(f"no rotation of {client.client_id}'s secret has begun")
    return live[0], live[-1]


def _view(client: Client) -> dict[str, Any]:
    """Return what the audit log shows of a client's credentials: names and instants, never a secret."""
    return {
        "keys": [{name: value for name, value in keys.view(key).items() if value} for key in client.keys],
        "secrets": [
            {"id": secret.id, "created_at": secret.created_at, "expires_at": secret.expires_at}
            for secret in client.secrets
        ],
    }
