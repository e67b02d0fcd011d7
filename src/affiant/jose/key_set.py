"""A JWK Set (RFC 7517 section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affiant.errors import ConfigError
from affiant.jose.keys import PublicKey, SecretKey, parse_public_jwk

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys, in order."""

    keys: tuple[PublicKey, ...]

    @classmethod
    def parse(cls, document: object) -> KeySet:
        """The keys in this document that can be used; others are skipped, as RFC 7517 section 5 asks.

        Raises:
            ConfigError: not a JWK Set, no key that can be used, or one kid for two keys.
        """
        members = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list):
            raise ConfigError("this is not a JWK Set: an object with an array of keys")
        keys = tuple(key for key in map(_usable, members) if key is not None)
        if not keys:
            raise ConfigError("the JWK Set has no key that can be used here")
        check_kids(keys)
        return cls(keys)

    @classmethod
    def parse_strictly(cls, document: object) -> KeySet:
        """The keys in this document, every one of which must be usable: for a set that somebody registers.

        Raises:
            ConfigError: not a JWK Set, no key, a key that is not accepted (which, and why), or one kid for two keys.
        """
        members = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list) or not members:
            raise ConfigError("this is not a JWK Set: an object with an array of keys")
        keys = tuple(_accepted(number, member) for number, member in enumerate(members, 1))
        check_kids(keys)
        return cls(keys)

    def find(self, kid: str) -> PublicKey | None:
        """The key of this name."""
        return next((key for key in self.keys if key.kid == kid), None)

    def candidates(self, alg: str) -> tuple[PublicKey, ...]:
        """The keys that may verify this alg."""
        return tuple(key for key in self.keys if alg in key.algorithms)

    def to_jwks(self) -> dict[str, Any]:
        """The document to publish."""
        return {"keys": [key.to_jwk() for key in self.keys]}


def check_kids(keys: Sequence[PublicKey | SecretKey]) -> None:
    """Let keys pass that can be told apart by their names.

    Raises:
        ConfigError: two have the same kid.
    """
    if len({key.kid for key in keys}) != len(keys):
        raise ConfigError("two keys of the JWK Set have the same kid")


def _accepted(number: int, member: object) -> PublicKey:
    if not isinstance(member, dict):
        raise ConfigError(f"key {number} of the JWK Set is not an object")
    try:
        return parse_public_jwk(member)
    except ConfigError as error:
        raise ConfigError(f"key {number} of the JWK Set: {error}") from error


def _usable(member: object) -> PublicKey | None:
    try:
        return parse_public_jwk(member) if isinstance(member, dict) else None
    except ConfigError:
        return None
