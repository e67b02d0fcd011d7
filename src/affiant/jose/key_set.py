"""JWK Sets (RFC 7517 section 5)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from affiant.errors import ConfigError
from affiant.jose import jwk
from affiant.jose.keys import PublicKey, parse_public_jwk

MAX_MEMBERS = 64  # of a client's set, used or not
MAX_PUBLISHED = 1024  # of an issuer's: a burst of rotations leaves many keys
MAX_GIVEN = 16  # keys for signatures in a registered set: parsing one takes up to a millisecond
MAX_CANDIDATES = 16  # keys to verify one signature by
_SHOWN_KID = 64  # characters
_SHOWN_REASONS = 4


class LeftOut(NamedTuple):
    """A member of a set that is not used."""

    place: int  # in the array, from 1
    kid: str | None  # in JSON, shortened; None if it is no string
    why: str

    def __str__(self) -> str:
        return f"key {self.place}{f' ({self.kid})' if self.kid else ''} of the JWK Set: {self.why}"


def describe(left_out: Sequence[LeftOut]) -> str:
    """Return one line about these members for logs and records, shortened; empty if there are none."""
    if not left_out:
        return ""
    more = f"; and {len(left_out) - _SHOWN_REASONS} more" if len(left_out) > _SHOWN_REASONS else ""
    return f"left out: {'; '.join(map(str, left_out[:_SHOWN_REASONS]))}{more}"


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys, in order.

    Several keys may have one kid, and one key several kids (RFC 7517 section 4.5): verifiers try each key that fits.
    """

    keys: tuple[PublicKey, ...]
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)  # not for signatures, unknown, or too weak

    @classmethod
    def parse(cls, document: object) -> KeySet:
        """Return the usable keys of a set that a trusted issuer publishes; a private key in it is left out."""
        return Reader(document, most=MAX_PUBLISHED).read()

    @classmethod
    def parse_given(cls, document: object, *, is_bundle: bool = False) -> KeySet:
        """Return the usable keys of a set that a client or operator registers; reject a set with a private key.

        `is_bundle` says that it may be a SPIFFE bundle: then its keys for JWT-SVIDs are the usable ones.
        """
        return Reader(document, is_given=True, is_bundle=is_bundle).read()

    def find(self, kid: str) -> PublicKey | None:
        return next((key for key in self.keys if key.kid == kid), None)

    def candidates(self, alg: str, kid: str | None = None) -> tuple[PublicKey, ...]:
        """Return the keys to try for this alg, and this kid if there is one; MAX_CANDIDATES at most."""
        fitting = [key for key in self.keys if alg in key.algorithms and (kid is None or key.kid == kid)]
        return tuple(fitting[:MAX_CANDIDATES])

    def to_jwks(self) -> dict[str, Any]:
        return {"keys": [key.to_jwk() for key in self.keys]}


class Reader:
    """Reads the members of a JWK Set one by one. Every set is read here.

    RFC 7517 section 5: members that are not understood are ignored. `left_out` names them.
    """

    def __init__(
        self, document: object, *, most: int = MAX_MEMBERS, is_given: bool = False, is_bundle: bool = False
    ) -> None:
        members = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list) or not members:
            raise ConfigError('this is not a JWK Set: an object with "keys", an array of at least one key')
        # Attack: a set with many members takes long to parse. They are counted first.
        if len(members) > most:
            raise ConfigError(f"the JWK Set has {len(members)} members: at most {most} are read")
        self._keys: dict[tuple[str, str, str | None], PublicKey] = {}
        self._left_out: list[LeftOut] = []
        # Attack: the key of an X.509 authority signs a JWT. Where a bundle names uses, each key is for its own alone.
        self._use = jwk.JWT_SVID if is_bundle and any(map(_is_of_bundle, members)) else jwk.SIGNATURES
        self._fitting: list[tuple[int, dict[str, Any]]] = []
        for place, member in enumerate(members, 1):
            self._sort(place, member, is_given=is_given)
        if is_given and len(self._fitting) > MAX_GIVEN:
            raise ConfigError(
                f"the JWK Set has {len(self._fitting)} keys for signatures: at most {MAX_GIVEN} are taken"
            )

    def read(self) -> KeySet:
        for _ in self.steps():
            pass
        return self.finish()

    def steps(self) -> Iterator[None]:
        """Read one key per step, so that the caller can do other work in between."""
        for place, member in self._fitting:
            yield
            try:
                key = parse_public_jwk(member)
            except ConfigError as error:
                self._leave_out(place, member, str(error))
                continue
            if self._keys.setdefault((key.thumbprint, key.kid, key.alg), key) is not key:
                self._leave_out(place, member, "the set has this key twice")

    def finish(self) -> KeySet:
        """Return the set after all steps, or raise ConfigError if it has no usable key."""
        left_out = tuple(sorted(self._left_out))
        if not self._keys:
            why = "; ".join(map(str, left_out[:_SHOWN_REASONS]))
            raise ConfigError(why if len(left_out) == 1 else f"the JWK Set has no key that can be used: {why}")
        return KeySet(tuple(self._keys.values()), left_out)

    def _sort(self, place: int, member: object, *, is_given: bool) -> None:
        if not isinstance(member, dict):
            self._leave_out(place, member, "not an object")
            return
        is_private = not jwk.PRIVATE_MEMBERS.isdisjoint(member)
        if is_private and is_given:
            # Order: first of all. The sender must learn that this key is no longer secret.
            raise ConfigError(f"key {place} of the JWK Set: {jwk.IS_PRIVATE}")
        try:
            jwk.check_public(member)
            jwk.check_use(member, "verify", use=self._use)
            jwk.check_kind(member)
        except ConfigError as error:
            self._leave_out(place, member, str(error))
        else:
            self._fitting.append((place, {name: value for name, value in member.items() if name != "use"}))

    def _leave_out(self, place: int, member: object, why: str) -> None:
        kid = member.get("kid") if isinstance(member, dict) else None
        # Attack: a kid with terminal control characters. It is shown in ASCII, and shortened.
        shown = json.dumps(kid[:_SHOWN_KID]) if isinstance(kid, str) else None
        self._left_out.append(LeftOut(place, shown, why))


def _is_of_bundle(member: object) -> bool:
    return isinstance(member, dict) and isinstance(use := member.get("use"), str) and use in jwk.SVID_USES
