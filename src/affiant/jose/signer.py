"""Signers: a key in this process, or one that never leaves its device."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol


class Signer(Protocol):
    """Signs bytes with one key and one algorithm.

    A local key (`affiant.jose.keys.PrivateKey`, `SecretKey`) is one.
    """

    @property
    def alg(self) -> str:
        """The name for the header (RFC 7518 section 3.1)."""

    @property
    def kid(self) -> str | None:
        """The name of the key for the header, or None to leave it out."""

    def sign(self, data: bytes) -> bytes:
        """The signature over these bytes, in the form of RFC 7518 section 3 (for ECDSA r and s side by side)."""


class RemoteSigner(Protocol):
    """The same of a key that never leaves a device or a service, so that its signature must be waited for."""

    @property
    def alg(self) -> str: ...

    @property
    def kid(self) -> str | None: ...

    def sign(self, data: bytes) -> Awaitable[bytes]:
        """The signature over these bytes, in the same form, as soon as it is there."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A signer whose key has another name in the header, or none."""

    signer: Signer
    kid: str | None

    @property
    def alg(self) -> str:
        return self.signer.alg

    def sign(self, data: bytes) -> bytes:
        return self.signer.sign(data)


AnySigner = Signer | RemoteSigner
