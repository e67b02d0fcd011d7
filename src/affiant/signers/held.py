"""Keys that are held elsewhere, in a KMS or a device, as signers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from affiant.errors import ConfigError, Error, LocalError, RemoteError
from affiant.jose import jwk, keys
from affiant.jose.keys import DEFAULT_ALG, PublicKey
from affiant.signers.checked import Checked
from affiant.system import forks

REFUSED_SECONDS = 5.0  # for which a refused key is not asked again: a retrying caller must not become a flood
_SAME = {"EdDSA": "Ed25519", "Ed25519": "EdDSA"}  # RFC 9864: for an Ed25519 key the two names mean the same
Result = TypeVar("Result")


class Description(NamedTuple):
    """A key as its holder describes it."""

    key: object  # the public key, of the package cryptography
    algorithms: tuple[str, ...]  # with which the holder signs (RFC 7518 section 3.1)


class Holder(Protocol):
    """Holds one private key. Its calls block; they raise LocalError, or Unreachable if the same may work later."""

    def connect(self) -> None:
        """Make a client, without those of a parent process. Called once in each process, if it succeeds."""

    def describe(self) -> Description:
        """Ask for the public key. Called after `connect`, once if it succeeds."""

    def sign(self, alg: str, data: bytes) -> bytes:
        """Ask for a signature, in the form of RFC 7518 section 3. Called after `describe`, by several threads."""


class HeldSigner:
    """A signer of a key that is held elsewhere. The holder is asked for the public key when it is first needed.

    Args:
        holder: of the key.
        name: of the key, for messages.
        alg: the algorithm; if left out, RS256 for RSA, and for other keys the one that they have.
        kid: for the header; if left out, the thumbprint of the public key (RFC 7638).
    """

    def __init__(
        self,
        holder: Holder,
        *,
        name: str,
        alg: str | None = None,
        kid: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._holder = holder
        self._name = name
        self._wanted = alg
        self._named = kid
        self._clock = clock
        self._lock = forks.Lock()
        self._is_connected = False
        self._known: PublicKey | None = None
        self._refused: tuple[float, str] = (float("-inf"), "")
        forks.watch(self)

    def after_fork(self) -> None:
        """Make new connections. Attack: parent and child share one, and one gets the answer for the other."""
        self._is_connected, self._known = False, None

    @property
    def alg(self) -> str:
        return str(self.public().alg)

    @property
    def kid(self) -> str | None:
        return self.public().kid

    def public(self) -> PublicKey:
        """Return the public key."""
        with self._lock:
            if self._known is None:
                self._known = self._ask(self._introduce)
            return self._known

    def sign(self, data: bytes) -> bytes:
        alg = self.alg
        return self._ask(lambda: self._holder.sign(alg, data))

    def _ask(self, call: Callable[[], Result]) -> Result:
        until, why = self._refused
        if self._clock() < until:
            raise LocalError(why)
        try:
            return call()
        except LocalError as error:
            self._refused = (self._clock() + REFUSED_SECONDS, str(error))
            raise
        except Error:
            raise
        except Exception as error:  # noqa: BLE001 - of an answer that is not what it should be; its text may have secrets
            raise RemoteError(f"{self._name}: the answer cannot be read ({type(error).__name__})") from None

    def _introduce(self) -> PublicKey:
        if not self._is_connected:  # once: while the service is away, each caller would make another client
            self._holder.connect()
            self._is_connected = True
        return self._choose(self._holder.describe())

    def _choose(self, described: Description) -> PublicKey:
        """Return the public key, bound to its algorithm."""
        try:
            members = jwk.build(described.key)
            fitting = keys.parse_public_jwk(members).algorithms
            able = [alg for alg in described.algorithms if alg in fitting]
            usual = DEFAULT_ALG.get(members.get("crv") or members.get("alg") or "RSA")
            alg = self._wanted or (usual if usual in able else next(iter(able), None))
            if alg not in able and _SAME.get(str(alg)) not in able:
                found = " or ".join(able) or "nothing that a JWS knows"
                raise LocalError(f"{self._name} is a key for {found}{f', not for {alg}' if alg else ''}")
            named = {"kid": self._named} if self._named is not None else {}
            return keys.parse_public_jwk({**members, **named, "alg": alg})
        except ConfigError as error:
            raise LocalError(f"{self._name} cannot be used: {error}") from None


def make_signer(holder: Holder, *, name: str, alg: str | None = None, kid: str | None = None) -> Checked:
    """Return the checked signer of a key that is held elsewhere; nothing is asked before it is used."""
    signer = HeldSigner(holder, name=name, alg=alg, kid=kid)
    return Checked(signer, signer.public, name=name)
