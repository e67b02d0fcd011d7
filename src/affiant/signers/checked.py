"""Verify the signatures of a key that another makes: a KMS, a device, or the code of a user.

A server answers every bad signature with `invalid_client`. Only here can a client learn what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from affiant.errors import LocalError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import signature_form
from affiant.jose.keys import PublicKey
from affiant.jose.signer import Signer
from affiant.signers.mistakes import find_mistake


class Checked:
    """A signer that checks the type and length of each signature, and verifies it.

    Args:
        signer: makes the signatures.
        public: returns its public key; called before the first signature.
        name: of the key, for messages.
    """

    def __init__(self, signer: Signer, public: Callable[[], PublicKey], *, name: str = "the signer") -> None:
        self._signer = signer
        self._public = public
        self._name = name

    def __repr__(self) -> str:
        return f"Checked({self._name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not pickled: make it where it is used")

    @property
    def alg(self) -> str:
        return self._signer.alg

    @property
    def kid(self) -> str | None:
        return self._signer.kid

    def public(self) -> PublicKey:
        """Return the public key; the first call may ask the service that holds the key."""
        return self._public()

    def sign(self, data: bytes) -> bytes:
        """Return the signature over these bytes, in the form of RFC 7518 section 3.

        Raises:
            LocalError: the key cannot be used, or the signature is wrong.
            Unreachable: the service that holds the key did not answer.
        """
        public = self._public()
        signature = self._signer.sign(data)
        rsa_bytes = public.key.key_size // 8 if isinstance(public.key, RSAPublicKey) else None
        fault = signature_form.find_fault(self.alg, signature, rsa_bytes=rsa_bytes)
        if fault is not None:
            raise LocalError(f"{self._name} {fault}")
        self._verify(public, data, signature)
        return signature

    def _verify(self, public: PublicKey, data: bytes, signature: bytes) -> None:
        try:
            public.verify(self.alg, data, signature)
        except Rejected as error:
            is_other_alg = error.reason is Reason.KEY_ALGORITHM
            why = (
                f"the key is for {error.expected}" if is_other_alg else find_mistake(public, self.alg, data, signature)
            )
            raise LocalError(f"{self._name} made a signature that does not verify with its public key: {why}") from None
