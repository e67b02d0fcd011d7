"""The steps of a key's life, from one key of a client to the next: announce, prove, retire, cancel, revoke.

Each takes the keys that stand and gives the keys that stand then. A step that was taken already changes nothing, so a
client that lost the answer asks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from affiant.errors import ConfigError
from affiant.jose.keys import PublicKey
from affiant.server.registry import client_keys
from affiant.storage.records import ClientKey, NotFound

LONGEST_OVERLAP = 30 * 86_400  # seconds that a key may stay good after its successor took over


def announce(standing: Sequence[ClientKey], announced: ClientKey, *, now: int) -> tuple[ClientKey, ...]:
    """Register the client's next key; it may authenticate nobody before it is proved."""
    old = _find(standing, client_keys.thumbprint(announced), now)
    if old is None:
        client_keys.check_name(standing, announced, now)
        return client_keys.add(standing, [announced], now=now)
    if _wanted(old) != _wanted(announced):
        raise ConfigError(f"the key is there already, as {old.kid}, and not for the same time")
    return tuple(standing)


def prove(standing: Sequence[ClientKey], thumbprint: str, *, now: int) -> tuple[ClientKey, ...]:
    """Let the key be used that has just signed: from now on, or from its `not_before`."""
    key = _find(standing, thumbprint, now)
    if key is None:
        raise NotFound("the key is not there any more")
    return tuple(standing) if key.proved_at is not None else _changed(standing, key, proved_at=now)


def retire(
    standing: Sequence[ClientKey], kid: str, *, now: int, overlap: int = 0, signer: str | None = None
) -> tuple[ClientKey, ...]:
    """Let a key end `overlap` seconds from now, because it has a successor. The tokens that it obtained live on."""
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise ConfigError(f"overlap is 0 to {LONGEST_OVERLAP} seconds")
    key = client_keys.get(standing, kid, now)
    if client_keys.state(key, now) in ("retiring", "revoked"):
        return tuple(standing)
    if client_keys.state(key, now) == "announced":
        raise ConfigError(f"the key {kid} is only announced: cancel it")
    _check_other(standing, key, now, signer)
    return _changed(standing, key, retiring_at=now, revoked_at=now + overlap)


def resume(standing: Sequence[ClientKey], kid: str, *, now: int) -> tuple[ClientKey, ...]:
    """Let a retiring key be used as before: its successor turned out to be wrong."""
    key = client_keys.get(standing, kid, now)
    if client_keys.state(key, now) == "revoked":
        raise ConfigError(f"the key {kid} has ended, and never comes back")
    return tuple(standing) if key.retiring_at is None else _changed(standing, key, retiring_at=None, revoked_at=None)


def cancel(standing: Sequence[ClientKey], kid: str, *, now: int) -> tuple[ClientKey, ...]:
    """Remove an announced key."""
    key = client_keys.get(standing, kid, now)
    state = client_keys.state(key, now)
    if state == "revoked":
        return tuple(standing)
    if state != "announced":
        raise ConfigError(f"the key {kid} is {state}, not announced: retire it")
    return _changed(standing, key, revoked_at=now)


def revoke(
    standing: Sequence[ClientKey], kid: str, *, now: int, signer: str | None = None, spares_one: bool = True
) -> tuple[ClientKey, ...]:
    """Revoke a key at once, because an attacker may have it. The commit must also revoke its tokens."""
    key = client_keys.get(standing, kid, now)
    if client_keys.is_revoked(key, now):
        return tuple(standing)
    if spares_one:
        _check_other(standing, key, now, signer)
    return _changed(standing, key, revoked_at=now)


def host(
    standing: Sequence[ClientKey], wanted: Sequence[PublicKey], *, now: int, source: str = "client"
) -> tuple[ClientKey, ...]:
    """Exactly these keys, as a client's own key set would have them; the key that signs the request vouches for them.

    Those that are left out end now, as by `retire`: the tokens that they obtained live on.
    """
    names: dict[str, set[str]] = {}
    for key in wanted:
        names.setdefault(key.thumbprint, set()).add(key.kid)
    for record in client_keys.live(standing, now):
        if record.kid not in names.get(client_keys.thumbprint(record), {record.kid}):
            raise ConfigError(f"one of the keys is there already under the name {record.kid}: send it as that")
    after = tuple(
        replace(key, proved_at=key.proved_at or now, retiring_at=None, revoked_at=None)
        if client_keys.thumbprint(key) in names and not client_keys.is_revoked(key, now)
        else key
        for key in client_keys.put(standing, wanted, now=now, source=source)
    )
    if not any(client_keys.state(key, now) == "active" for key in after):
        raise ConfigError("none of these keys could be used now")
    return after


def _find(standing: Sequence[ClientKey], thumbprint: str, now: int) -> ClientKey | None:
    return next((key for key in client_keys.live(standing, now) if client_keys.thumbprint(key) == thumbprint), None)


def _wanted(key: ClientKey) -> tuple[object, ...]:
    return key.kid, key.not_before, key.expires_at


def _changed(standing: Sequence[ClientKey], key: ClientKey, **changes: Any) -> tuple[ClientKey, ...]:
    # All records of the key, one for each of its kids.
    name = client_keys.thumbprint(key)
    return tuple(replace(each, **changes) if client_keys.thumbprint(each) == name else each for each in standing)


def _check_other(standing: Sequence[ClientKey], key: ClientKey, now: int, signer: str | None) -> None:
    """Nobody shuts itself out: another key is in use, and where the client asks, that one has just worked."""
    name = client_keys.thumbprint(key)
    if signer == name:
        raise ConfigError(f"the key {key.kid} cannot end itself: sign the request with its successor")
    others = (client_keys.state(other, now) for other in standing if client_keys.thumbprint(other) != name)
    if "active" not in others:
        raise ConfigError(f"the key {key.kid} is the last that can be used: announce and prove another first")
