"""What signs: a key in this process, or one that never leaves its device."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """Signs bytes with one key and one algorithm.

    A local key (`affiant.jose.keys.PrivateKey`, `SecretKey`) is one; so is any object that asks a device or a service.
    """

    @property
    def alg(self) -> str:
        """The name for the header (RFC 7518 section 3.1)."""

    @property
    def kid(self) -> str | None:
        """The name of the key for the header, or None to leave it out."""

    def sign(self, data: bytes) -> bytes:
        """The signature over these bytes, in the form of RFC 7518 section 3 (for ECDSA r and s side by side)."""
