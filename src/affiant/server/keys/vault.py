"""The private parts of signing keys: sealed in the store, or in a PKCS #11 token or KMS that they never leave."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from affiant.errors import ConfigError, LocalError, Rejected, SignerError, StoreError
from affiant.jose import jwk, keys
from affiant.jose.keys import PrivateKey, PublicKey
from affiant.jose.signer import AnySigner
from affiant.server.keys import kms
from affiant.server.keys.kms import PROOF, KmsKey
from affiant.server.keys.master_key import MasterKey
from affiant.storage.records import SigningKey

if TYPE_CHECKING:  # it loads python-pkcs11, which is an extra
    from affiant.signers.pkcs11.token import Token

log: logging.Logger = logging.getLogger(__name__)

_TOKEN = "pkcs11"  # noqa: S105 - the member with the label of the token of a key
_KMS = "kms"  # the member with the name of a key in a KMS


class Opened(NamedTuple):
    """A signing key, ready for use."""

    signer: AnySigner
    public: PublicKey


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key in a PKCS #11 token; a RemoteSigner."""

    kid: str
    alg: str
    label: str  # of the token
    token: Token | None = field(repr=False)  # None if this process does not use it
    public: PublicKey = field(repr=False)

    def sign(self, data: bytes) -> Awaitable[bytes]:
        if self.token is None:
            raise SignerError(_elsewhere(self))
        return self._sign(self.token, data)

    async def _sign(self, token: Token, data: bytes) -> bytes:
        signature = await token.sign(self.kid, self.alg, data)
        try:
            # Each one: a token with another key of this name, or a faulty device, makes no access token.
            self.public.verify(self.alg, data, signature)
        except Rejected:
            raise SignerError(f"the PKCS #11 token {self.label} signed with another key than {self.kid}") from None
        return signature

    async def prove(self) -> None:
        """Raise SignerError if the key cannot sign now."""
        await self.sign(PROOF)


class Vault:
    """Makes, opens and erases signing keys."""

    def __init__(self, master_key: MasterKey, token: Token | None = None) -> None:
        self._master_key = master_key
        self._token = token

    def check_alg(self, alg: str) -> None:
        """Raise ConfigError if `generate` cannot make keys for this algorithm. Only the token knows its own limits."""
        if self._token is not None:
            self._token.check_alg(alg)

    async def generate(self, alg: str, *, now: int, line: str = "") -> SigningKey:
        """Make a key."""
        if self._token is not None:
            return await self._generate_inside(self._token, alg, now, line)
        key = await asyncio.to_thread(_generate, alg)  # an RSA key takes a second
        return self._record(key.public(), key.to_jwk(), now, line)

    async def adopt(self, name: str, alg: str | None, *, now: int, line: str = "") -> SigningKey:
        """Return the record of a key that exists in a KMS, once it has signed; raise ConfigError if it cannot."""
        public = await kms.describe(name, alg)
        return self._record(public, {_KMS: name, "jwk": public.to_jwk()}, now, line)

    def open(self, key: SigningKey) -> Opened:
        """Return the key, ready for use; a token or KMS is not called before it signs."""
        plain = json.loads(self._master_key.unseal(key.sealed, purpose=signing_key_purpose(key.kid)))
        if plain.get(_KMS, "") != key.kms:  # Attack: without the name, the calendar would make a key of its own
            raise StoreError(f"the record of the signing key {key.kid} was altered: the KMS in it is another")
        if _KMS in plain:
            public = keys.parse_public_jwk(plain["jwk"])
            return Opened(KmsKey(key.kid, public, plain[_KMS]), public)
        if _TOKEN not in plain:
            private = keys.parse_private_jwk(plain)
            return Opened(private, private.public())
        label = plain[_TOKEN]
        token = self._token if self._token is not None and self._token.label == label else None
        public = keys.parse_public_jwk(plain["jwk"])
        return Opened(TokenKey(key.kid, key.alg, label, token, public), public)

    async def check(self, key: SigningKey) -> None:
        """Raise an Error if this process cannot sign with the key."""
        signer = self.open(key).signer
        if isinstance(signer, KmsKey):
            await _check_kms(signer)
        if not isinstance(signer, TokenKey):
            return
        if signer.token is None:
            raise ConfigError(_elsewhere(signer))
        if key.kid not in await signer.token.list():
            raise ConfigError(f"the PKCS #11 token {signer.label} does not have the key {key.kid} that should sign")

    async def erase(self, kids: Collection[str]) -> None:
        if self._token is not None and kids:
            await self._token.erase(kids)

    async def sweep(self, stored: Iterable[SigningKey]) -> None:
        """Erase removed keys that are still in the token: it may have been away at their removal."""
        if self._token is not None:
            removed = {key.kid for key in stored if not key.sealed}
            await self.erase(removed & await self._token.list())

    async def close(self) -> None:
        if self._token is not None:
            await self._token.close()

    async def _generate_inside(self, token: Token, alg: str, now: int, line: str) -> SigningKey:
        kid = secrets.token_hex(16)  # its name in the token too: the thumbprint is known only afterwards
        made = await token.generate(kid, alg)
        public = keys.parse_public_jwk({**jwk.build(made), "kid": kid, "alg": alg})
        return self._record(public, {_TOKEN: token.label, "jwk": public.to_jwk()}, now, line)

    def _record(self, public: PublicKey, private: dict[str, Any], now: int, line: str) -> SigningKey:
        return SigningKey(
            kid=public.kid,
            alg=public.alg or "",
            public_jwk=json.dumps(public.to_jwk()),
            sealed=self._master_key.seal(json.dumps(private).encode(), purpose=signing_key_purpose(public.kid)),
            created_at=now,
            line=line,
            kms=private.get(_KMS, ""),
        )


def client_secret_purpose(client_id: str) -> str:
    """Return what a secret is sealed for: a seal for one client opens for no other."""
    return f"client-secret/{client_id}"


def signing_key_purpose(kid: str) -> str:
    return f"signing-key/{kid}"


def _generate(alg: str) -> PrivateKey:
    # A name that begins with a hyphen would be taken for an option by the command line.
    while (key := keys.generate(alg)).kid.startswith("-"):
        pass
    return key


async def _check_kms(signer: KmsKey) -> None:
    try:
        await signer.prove()
    except SignerError as error:
        if isinstance(error.__cause__, LocalError):  # what only an operator can correct
            raise ConfigError(f"the signing key {signer.kid} cannot be used: {error}") from error
        log.warning("no token is issued until its KMS answers: %s", error)


def _elsewhere(key: TokenKey) -> str:
    return (
        f"the key {key.kid} is in the PKCS #11 token {key.label}: set AFFIANT_PKCS11_MODULE and"
        f" AFFIANT_PKCS11_TOKEN={key.label}"
    )
