"""A fake issuer: it takes the place of a guard's own, for tests without a server and without a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Self

from affiant.jose import compact
from affiant.jose.keys import PrivateKey, generate
from affiant.oauth import revocations
from affiant.resource import Guard
from affiant.testing.clock import Clock
from affiant.testing.responses import Lines
from affiant.testing.tokens import Tokens


class FakeIssuer(Tokens):
    """Signs tokens for the guards of an API, which trust it in place of their issuer while the `with` lasts.

    Its tokens are of RFC 9068, also where those of the guards' issuer are not.

    The guards are the real ones. Their HTTP, their clock and what they know of their issuer are replaced, and are back
    at the end. Its tokens are those of RFC 9068, whatever claim rules the guards have for their issuer. The fixture
    `affiant_issuer` makes one: ``issuer = affiant_issuer(guard)``.

    Args:
        guards: those of one issuer. Tokens that name no audience are for the first one. It also takes the place of the
            other issuers of a guard that has several: ``token(iss="https://other.example")``.

    Attributes:
        clock: the time of the guards. It begins with the present, and moves only when the test moves it.

    Raises:
        ValueError: no guard, or guards of different issuers.
    """

    def __init__(self, *guards: Guard) -> None:
        if len({guard.issuer for guard in guards}) != 1:
            raise ValueError("a fake issuer takes over one guard or more, which all have the same issuer")
        super().__init__(guards[0].issuer, guards[0].audience, _Clock(self._change))
        self._guards = guards
        self._lines = list[Lines]()
        self._replaced = ExitStack()
        self._rotations = 0

    def __enter__(self) -> Self:
        for guard in self._guards:
            lines = Lines(self._published)
            trusted = self._replaced.enter_context(lines.replace(guard))
            self._lines.append(lines)
            if not self.keys:
                accepted = frozenset.intersection(*(one.algorithms for one in trusted)) or trusted[0].algorithms
                self.keys.append(_key("ES256" if "ES256" in accepted else min(accepted), 0))
        return self

    def __exit__(self, *_: object) -> None:
        self._replaced.close()
        self._published.is_open = False
        self._published.change()

    @property
    def keys(self) -> list[PrivateKey]:
        """The keys that it publishes. The last one signs."""
        return self._published.keys

    def rotate(self) -> PrivateKey:
        """Sign with a new key, which is returned. Those of before are published as well, until they leave `keys`.

        The guard asks for a key that it does not know three times, and then once in 10 seconds of its clock.
        """
        self._rotations += 1
        self.keys.append(_key(self.keys[-1].alg, self._rotations))
        return self.keys[-1]

    def revoke(self, token: str | None = None, *, client_id: str | None = None, client_key: str | None = None) -> None:
        """Revoke a token, or all that a client or a key has obtained until now; the next request is refused.

        A guard with `introspection` accepts an answer for as long as it may cache it.

        Args:
            token: this one.
            client_id: all tokens of this client that are issued until 2 seconds from now.
            client_key: all tokens with this thumbprint in their `client_key`; with a client_id, those of that client.

        Raises:
            ValueError: none of them is given, or the token has no jti.
        """
        now, named = int(self.clock), list[tuple[str, str | None]]()
        if token is not None:
            claims = self._published.minted.get(token) or compact.parse(token).claims
            named.append(("jti", claims.get("jti")))
        if client_key is not None:
            named.append(("key", client_key if client_id is None else revocations.of_key(client_id, client_key)))
        elif client_id is not None:
            named.append(("client", client_id))
        revoked = [(kind, value, now) for kind, value in named if value]
        if not revoked:
            raise ValueError("revoke a token with a jti, a client_id or a client_key")
        self._published.revoked += revoked
        self._change()

    def down(self) -> None:
        """Answer nothing any more. Guards accept what they know to be valid."""
        self._published.is_up = False

    def up(self) -> None:
        """Answer again."""
        self._published.is_up = True
        self._change()

    def _change(self) -> None:
        """Let the guards know."""
        self._published.change()
        for lines in self._lines:
            lines.deliver()


def _key(alg: str, number: int) -> PrivateKey:
    """Return a new key; one of RSA, which takes a second to make, is new in this process alone."""
    return _rsa_key(alg, number) if alg.startswith(("RS", "PS")) else generate(alg)


@cache
def _rsa_key(alg: str, _number: int) -> PrivateKey:
    return generate(alg)


class _Clock(Clock):
    """The clock of a fake issuer, whose guards hear of its revocations again when it moves."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__(int(time.time()))
        self._changed = changed

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._changed()
