"""The keys of an issuer that the operator gives to the guard, which then fetches none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.compact import Unverified, Verified
from affiant.jose.key_set import KeySet, describe
from affiant.jose.keys import PublicKey
from affiant.jose.strict_json import parse_object
from affiant.resource.issuer.keys import KeysState

Given = Mapping[str, Any] | str | Path  # a JWK Set, its text, or the path of a file that has it


class Keys(Protocol):
    """The keys of one issuer. `edition` changes when they do."""

    @property
    def edition(self) -> int: ...

    def is_ready(self) -> bool:
        """Whether there are keys to judge by now."""

    def begin(self, then: Callable[[], object]) -> None:
        """Begin to fetch the keys if there are none. Call `then` when there are some."""

    async def refresh(self) -> None:
        """Wait until there are."""

    async def verify(self, unverified: Unverified, *, tried: Sequence[PublicKey] = ()) -> Verified:
        """Verify by the keys, but not by those that were tried."""

    def candidates(self, unverified: Unverified) -> Sequence[PublicKey]:
        """Return the known keys that may have made the signature."""

    def state(self) -> KeysState:
        """Return what is known, without a fetch."""


class OfflineKeys:
    """Keys that never change."""

    edition = 1

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def is_ready(self) -> bool:
        return True

    def begin(self, then: Callable[[], object]) -> None:
        then()

    async def refresh(self) -> None:
        """There is nothing to wait for."""

    async def verify(self, unverified: Unverified, *, tried: Sequence[PublicKey] = ()) -> Verified:
        del tried  # these keys are all that there are
        found = self.candidates(unverified)
        if not found:
            raise Rejected(Reason.TOKEN_KEY, detail=describe(self._keys.left_out))
        try:
            return compact.verify_any(unverified, found)
        except Rejected:
            raise Rejected(Reason.TOKEN_SIGNATURE, detail="by the keys of jwks=") from None

    def state(self) -> KeysState:
        return KeysState(keys=len(self._keys.keys), is_usable=True)

    def candidates(self, unverified: Unverified) -> Sequence[PublicKey]:
        return self._keys.candidates(unverified.alg, unverified.kid)


def read(given: Given) -> KeySet:
    """Return the keys; raise ConfigError. A text that begins with { is the set itself, any other a path."""
    if isinstance(given, Mapping):
        return KeySet.parse_given(dict(given))
    if not isinstance(given, str | Path):
        raise ConfigError(f"jwks= is a JWK Set: a dict, its text or the path of a file, not {type(given).__name__}")
    text = str(given)
    try:
        if isinstance(given, Path) or not text.lstrip().startswith("{"):
            text = Path(given).read_text(encoding="utf-8")
        return KeySet.parse_given(parse_object(text.encode()))
    except OSError as error:
        raise ConfigError(f"jwks={str(given)[:200]!r} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"jwks= is not JSON: {error}") from None
