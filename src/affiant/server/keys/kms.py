"""Signing keys that an operator made in a KMS, and that never leave it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable

from affiant.errors import ConfigError, LocalError, Rejected, RemoteError, SignerError
from affiant.jose.keys import PublicKey, parse_public_jwk
from affiant.signers import threads
from affiant.signers.checked import Checked
from affiant.signers.held import REFUSED_SECONDS
from affiant.signers.opening import open_signer
from affiant.signers.threads import CallThreads

SCHEMES = ("awskms", "azurekv", "gcpkms", "vault")
PROOF = b"affiant: can this key sign?"  # without a period, so no part of any JWS (RFC 7515 section 5.1)
OPEN_SECONDS = 30.0  # the first call loads a package, fetches credentials and the public key
DESCRIBE_SECONDS = 4.5  # less than the deadline of a request to the admin API
PROOF_SECONDS = 60.0  # for which a good signature is proof enough: each one is billed
_THREADS = 8  # calls at once: each waits for the network


def check_name(name: str) -> None:
    """Raise ConfigError for a name that is of no KMS, or that may come to mean another key."""
    scheme, _, place = name.partition(":")
    if scheme not in SCHEMES:
        raise ConfigError(f"a signing key is named by its KMS: {', '.join(f'{one}:...' for one in SCHEMES)}")
    if scheme == "awskms" and "alias/" in place:
        raise ConfigError("an alias can be moved to another key: name the key by its id or ARN")
    if scheme == "vault" and not place.rpartition(":")[2].isdecimal():
        raise ConfigError(f"a rotation in Vault makes another version: name this one, such as {name}:1")


class KmsKey:
    """A key in a KMS; a RemoteSigner. The KMS is called from threads of this key, when it first signs."""

    def __init__(self, kid: str, public: PublicKey, name: str) -> None:
        self.kid = kid
        self.alg: str = str(public.alg)
        self.name = name
        self._public = public
        self._pid = 0
        self._calls: CallThreads | None = None
        self._signer: Checked | None = None
        self._proved_at = float("-inf")
        self._other_until = float("-inf")

    def __repr__(self) -> str:
        return f"KmsKey({self.kid!r}, {self.alg!r}, {self.name!r})"

    def sign(self, data: bytes) -> Awaitable[bytes]:
        return self._sign(data, threads.SIGN_SECONDS)

    async def prove(self) -> None:
        """Raise SignerError if the key cannot sign now."""
        if time.monotonic() - self._proved_at >= PROOF_SECONDS:
            await self._sign(PROOF, threads.SIGN_SECONDS if self._signer is not None else OPEN_SECONDS)

    async def _sign(self, data: bytes, seconds: float) -> bytes:
        try:
            signature = await self._threads().run(lambda: self._make(data), seconds=seconds)
        except BaseException:
            self._proved_at = float("-inf")
            raise
        self._proved_at = time.monotonic()
        return signature

    def _threads(self) -> CallThreads:
        if self._calls is None or self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._pid, self._signer = os.getpid(), None
            self._calls = CallThreads(f"the KMS of {self.name}", _THREADS)
        return self._calls

    def _make(self, data: bytes) -> bytes:
        other = f"{self.name} is another key than that of {self.kid}"
        if time.monotonic() < self._other_until:  # Attack: each token request opens a signer, 0.1 s of this worker
            raise SignerError(other)
        try:
            signer = self._signer = self._signer or open_signer(self.name, alg=self.alg)
            if signer.public().thumbprint != self._public.thumbprint:
                self._signer, self._other_until = None, time.monotonic() + REFUSED_SECONDS
                raise SignerError(other)
            signature = signer.sign(data)
            # Each one: a KMS that answers with another key, or a proxy that alters the answer, makes no token.
            self._public.verify(self.alg, data, signature)
        except Rejected:
            raise SignerError(f"{self.name} signed with another key than that of {self.kid}") from None
        except SignerError:
            raise
        except (ConfigError, LocalError, RemoteError) as error:
            raise SignerError(str(error)) from error
        except Exception as error:  # of a package of the KMS; its text may have what was sent
            raise SignerError(f"{self.name} cannot sign: {type(error).__name__}") from error
        return signature


async def describe(name: str, alg: str | None) -> PublicKey:
    """Return the public key of a key in a KMS once it has signed; its kid is its thumbprint. Raise ConfigError."""
    check_name(name)
    try:
        calls = CallThreads(f"the KMS of {name}")
        return await calls.run(lambda: _introduce(name, alg), seconds=DESCRIBE_SECONDS)
    except (LocalError, RemoteError, SignerError) as error:
        raise ConfigError(f"the key is not announced: {error}") from error


def _introduce(name: str, alg: str | None) -> PublicKey:
    signer = open_signer(name, alg=alg)
    found = signer.public()
    found.verify(str(found.alg), PROOF, signer.sign(PROOF))
    # A kid that begins with a hyphen would be taken for an option by the command line.
    return parse_public_jwk({**found.to_jwk(), "kid": found.thumbprint.lstrip("-")})
