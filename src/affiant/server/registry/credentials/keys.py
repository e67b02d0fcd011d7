"""The public keys of a client: announced, active, retiring, revoked.

The state of a key follows from the instants stored with it, so every worker and node agrees without a message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from affiant.errors import ConfigError
from affiant.jose.keys import PublicKey, parse_public_jwk
from affiant.oauth import names
from affiant.storage.records import ClientKey, NotFound

MAX_KEYS = 16  # live at one time
MAX_REVOKED = 256  # that are remembered, so that they do not come back; a client that rotates for ever must not grow
MAX_CHOICES = 4  # keys of one kid that a message lists
_CACHED = 65_536
_INSTANTS = ("created_at", "not_before", "expires_at", "proved_at", "retiring_at", "revoked_at")


def build(
    key: PublicKey,
    *,
    now: int,
    source: str = "operator",
    not_before: int = 0,
    expires_at: int | None = None,
    is_proved: bool = True,
) -> ClientKey:
    """Return the key as it is stored; `is_proved` says that it needs no signature to be known as the client's own."""
    return ClientKey(
        kid=key.kid,
        jwk=json.dumps(key.to_jwk()),
        created_at=now,
        not_before=not_before,
        expires_at=expires_at,
        proved_at=now if is_proved else None,
        source=source,
    )


@lru_cache(maxsize=_CACHED)
def parse(jwk: str) -> PublicKey:
    # Attack: reading an RSA key takes so long that the time of an answer would tell which clients exist. A change of
    # the store makes every client be looked up again, so each key is parsed once for all its life.
    return parse_public_jwk(json.loads(jwk))


def thumbprint(key: ClientKey) -> str:
    """Return the name (RFC 7638) by which the uses of a key are counted and its tokens are revoked."""
    return parse(key.jwk).thumbprint


def is_revoked(key: ClientKey, now: float) -> bool:
    """Whether the key is of no use any more: revoked, retired or expired."""
    revoked_at, expires_at = key.revoked_at, key.expires_at
    return (revoked_at is not None and revoked_at <= now) or (expires_at is not None and expires_at <= now)


def may_be_proved(key: ClientKey, now: float) -> bool:
    """Whether a signature by the key shows that it is the client's own."""
    return not is_revoked(key, now)


def may_authenticate(key: ClientKey, now: float) -> bool:
    """Whether the client may sign with it: it is active, or retiring."""
    return key.proved_at is not None and key.not_before <= now and not is_revoked(key, now)


def state(key: ClientKey, now: float) -> str:
    """Return ``announced``, ``active``, ``retiring`` or ``revoked``."""
    if is_revoked(key, now):
        return "revoked"
    if not may_authenticate(key, now):
        return "announced"
    return "retiring" if key.retiring_at is not None and key.retiring_at <= now else "active"


def view(key: ClientKey) -> dict[str, Any]:
    """Return the names of a key and its instants, in epoch seconds; a `not_before` of 0 says nothing."""
    shown = {name: getattr(key, name) for name in _INSTANTS} | {"not_before": key.not_before or None}
    return {"kid": key.kid, "thumbprint": thumbprint(key), "source": key.source, **shown}


def live(keys: Iterable[ClientKey], now: float) -> list[ClientKey]:
    """Return the keys that are not revoked, in their order."""
    return [key for key in keys if not is_revoked(key, now)]


def get(keys: Sequence[ClientKey], name: str, now: float) -> ClientKey:
    """Return the key with this thumbprint, or else with this kid; also a revoked one.

    A thumbprint names one key. A kid may name several, and then ConfigError is raised: if the server guessed and
    revoked the wrong key, the tokens of the leaked one would stay valid.
    """
    named = [key for key in keys if thumbprint(key) == name] or [key for key in keys if key.kid == name]
    if not named:
        raise NotFound("the client has no key of this name")
    states = {thumbprint(key): state(key, now) for key in named}
    if len(states) > 1:
        # The newest first: among hundreds of ended keys, the operator wants a recent one.
        shown = [f"{key} ({what})" for key, what in reversed(states.items())]
        more = f" and {len(shown) - MAX_CHOICES} more" if len(shown) > MAX_CHOICES else ""
        choices = ", ".join(shown[:MAX_CHOICES]) + more
        raise ConfigError(f"{len(states)} keys have the kid {name}: name one by its thumbprint: {choices}")
    return named[-1]


def add(held: Sequence[ClientKey], added: Sequence[ClientKey], *, now: int) -> tuple[ClientKey, ...]:
    """Return the keys with these added; raise ConfigError for a known key, also a revoked one, and for too many.

    A kid may name several keys, and a key may have several names among those that are added (RFC 7517 section 4.5).
    """
    known = {thumbprint(key): key for key in held}
    for key in added:
        old = known.get(thumbprint(key))
        if old is not None:
            what = "was revoked, and never comes back: make a new one" if is_revoked(old, now) else "is there already"
            raise ConfigError(f"the key {key.kid} {what}")
    return _checked((*held, *added), now)


def put(
    held: Sequence[ClientKey], wanted: Sequence[PublicKey], *, now: int, source: str = "operator"
) -> tuple[ClientKey, ...]:
    """Return exactly these keys: keep the wanted live ones unchanged, revoke the others, and add the new ones."""
    kept: dict[str, list[ClientKey]] = {}
    for key in live(held, now):
        kept.setdefault(thumbprint(key), []).append(key)
    wanted_of = {name: [key for key in wanted if key.thumbprint == name] for name in kept}
    named = {name: _named(keys, wanted_of[name]) for name, keys in kept.items() if wanted_of[name]}
    left = [
        key if is_revoked(key, now) or thumbprint(key) in named else replace(key, revoked_at=now)
        for key in held
        if is_revoked(key, now) or key in named.get(thumbprint(key), [key])
    ]
    new = [build(key, now=now, source=source) for key in wanted if key.thumbprint not in kept]
    further = [key for keys in named.values() for key in keys if key not in held]
    return _checked((*add(left, new, now=now), *further), now)


def put_vouched(
    held: Sequence[ClientKey], wanted: Sequence[PublicKey], *, now: int, source: str = "client"
) -> tuple[ClientKey, ...]:
    """Return exactly these keys, proved and not retiring: the key that signed the client's request vouches for them.

    The tokens of the keys that are left out stay valid until they expire.
    """
    kids: dict[str, set[str]] = {}
    for key in wanted:
        kids.setdefault(key.thumbprint, set()).add(key.kid)
    for record in live(held, now):
        if record.kid not in kids.get(thumbprint(record), {record.kid}):
            raise ConfigError(f"one of the keys is there already under the name {record.kid}: send it as that")
    after = tuple(
        replace(key, proved_at=key.proved_at or now, retiring_at=None, revoked_at=None)
        if thumbprint(key) in kids and not is_revoked(key, now)
        else key
        for key in put(held, wanted, now=now, source=source)
    )
    if not any(state(key, now) == "active" for key in after):
        raise ConfigError("none of these keys could be used now")
    return after


def check_certificates(auth_method: str, held: Sequence[ClientKey], wanted: Sequence[PublicKey], *, now: int) -> None:
    """Raise ConfigError if a registered key comes with another certificate: it keeps its first one."""
    if auth_method != names.SELF_SIGNED_TLS_CLIENT_AUTH:
        return
    keys = [parse(key.jwk) for key in live(held, now)]
    certificates = {key.thumbprint: key.certificate for key in keys}
    for key in wanted:
        if certificates.get(key.thumbprint, key.certificate) != key.certificate:
            raise ConfigError(f"the key {key.kid} was registered with another certificate or none: make a new key")


def _checked(keys: tuple[ClientKey, ...], now: float) -> tuple[ClientKey, ...]:
    if len(live(keys, now)) > MAX_KEYS:
        raise ConfigError(f"a client has at most {MAX_KEYS} keys at one time: revoke some")
    return _without_the_oldest(keys, now)


def _named(held: Sequence[ClientKey], wanted: Sequence[PublicKey]) -> list[ClientKey]:
    """Return the records of one live key under the kids that a set gives it.

    A key with one kid keeps it, and its alg, whatever the set says: processes that sign with that kid must not fail. A
    key with several kids gets those of the set; a new kid has the state of the key.
    """
    if not {key.kid for key in held} & {key.kid for key in wanted}:
        return list(held)
    found = []
    for kid in dict.fromkeys(key.kid for key in wanted):
        records = [key for key in held if key.kid == kid]
        keys = [key for key in wanted if key.kid == kid]
        algs = {parse(record.jwk).alg: record for record in records}
        if len(records) == len(keys) == 1:
            found += records
        else:
            found += [algs.get(k.alg) or replace(held[0], kid=kid, jwk=json.dumps(k.to_jwk())) for k in keys]
    return found


def _without_the_oldest(keys: tuple[ClientKey, ...], now: float) -> tuple[ClientKey, ...]:
    # Attack: a client announces and cancels keys until a used one is forgotten. Forget never-used ones first.
    revoked = sorted((key for key in keys if is_revoked(key, now)), key=lambda key: key.proved_at is not None)
    forgotten = {id(key) for key in revoked[: max(0, len(revoked) - MAX_REVOKED)]}
    return tuple(key for key in keys if id(key) not in forgotten)


class ClientKeys:
    """The keys of one client, ready to verify with; announced ones only where they may prove themselves."""

    __slots__ = ("_keys", "_may", "records")

    def __init__(self, records: Sequence[ClientKey], *, admits_announced: bool = False) -> None:
        self.records: tuple[ClientKey, ...] = tuple(records)
        self._keys = tuple((record, parse(record.jwk)) for record in records)
        self._may = may_be_proved if admits_announced else may_authenticate

    def proving(self) -> ClientKeys:
        return ClientKeys(self.records, admits_announced=True)

    def usable(self, now: float) -> list[PublicKey]:
        return [key for record, key in self._keys if self._may(record, now)]
