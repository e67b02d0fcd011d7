"""The master key seals secrets that must be recoverable, and digests those that must only be recognised.

AES-256-GCM, HMAC-SHA-256 and HKDF are `cryptography`'s; this module only applies them.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from affiant.errors import ConfigError
from affiant.jose import base64url

BYTES = 32
_NONCE_BYTES = 12
_SPELLINGS = "the master key must be 32 bytes: 64 hexadecimal digits, or 43 characters of base64url"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """256 bits, from which a key for each purpose is derived."""

    _seal: bytes = field(repr=False)
    _digest: bytes = field(repr=False)
    _successor: bytes = field(repr=False)
    audit: bytes = field(repr=False)  # for the chain of the audit log

    @classmethod
    def from_bytes(cls, material: bytes) -> MasterKey:
        if len(material) != BYTES:
            raise ConfigError(_SPELLINGS)
        return cls(
            *(_derive(material, purpose) for purpose in (b"seal", b"digest", b"refresh successor", b"audit chain"))
        )

    def seal(self, plain: bytes, *, purpose: str) -> bytes:
        """Encrypt, so that it opens only for this purpose (such as ``client-secret/billing``)."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._seal).encrypt(nonce, plain, purpose.encode())

    def unseal(self, sealed: bytes, *, purpose: str) -> bytes:
        try:
            return AESGCM(self._seal).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
        except InvalidTag:
            raise ConfigError(
                f"{purpose} does not open with this master key: use the one that this database was made with"
            ) from None

    def digest(self, secret: str) -> bytes:
        """Return what is stored of a secret that must only be recognised: useless without the master key."""
        return hmac.digest(self._digest, secret.encode(), sha256)

    def successor(self, refresh_token: str) -> str:
        """Return the only refresh token that may follow this one.

        It is a function of its predecessor, so that two rotations of one token cannot make two successors, and a
        client whose answer was lost gets the same one again although only hashes are stored.
        """
        return base64url.encode(hmac.digest(self._successor, refresh_token.encode(), sha256))


def parse(text: str) -> bytes:
    """Return the bytes of a master key that was written as text, or raise ConfigError, without the text."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    if re.fullmatch(r"[A-Za-z0-9_-]{43}=?", text):
        return urlsafe_b64decode(text.rstrip("=") + "=")
    raise ConfigError(_SPELLINGS)


def _derive(material: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=BYTES, salt=None, info=b"affiant " + purpose).derive(material)
