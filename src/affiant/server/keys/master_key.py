"""The master key seals secrets that must be recoverable, and digests those that must only be recognised.

AES-256-GCM, HMAC-SHA-256 and HKDF are `cryptography`'s; this module only applies them.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from base64 import urlsafe_b64decode
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from affiant.errors import ConfigError
from affiant.jose import base64url

log: logging.Logger = logging.getLogger(__name__)

BYTES = 32
SETTING = "master_keys"
_RESTORE = "restore a backup"
_NONCE_BYTES = 12
_SPELLINGS = "the master key must be 32 bytes: 64 hexadecimal digits, or 43 characters of base64url"


class MasterKey:
    """The master key that an operator gave, and the keys that are derived from it or that it opens.

    Before the first rotation (rotation.py) every key is derived from the given one. Afterwards the database has a ring
    of keys that is sealed under the given one: its root has the place of the first master key, and what must be
    recoverable is sealed under a newer key.
    """

    def __init__(self, given: bytes, ring: Ring) -> None:
        self._given = given
        self._ring = ring
        self._ciphers = _ciphers(ring)
        self._digest = _derive(ring.root, b"digest")
        self._successor = _derive(ring.root, b"refresh successor")
        self.audit: bytes = _derive(ring.root, b"audit chain")

    @classmethod
    def from_bytes(cls, material: bytes) -> MasterKey:
        if len(material) != BYTES:
            raise ConfigError(_SPELLINGS)
        return cls(material, Ring(material, (material,)))

    @property
    def fingerprint(self) -> str:
        """The name of the given key, from which nothing about the key can be learned."""
        return fingerprint(self._given)

    @property
    def ring(self) -> Ring:
        return self._ring

    def sealed(self, ring: Ring) -> bytes:
        """Seal a ring under the given key."""
        return seal_ring(ring, self._given)

    def opened(self, rings: Rings | None) -> MasterKey:
        """Return the key with the ring of this database; ConfigError if it is not sealed under the given key."""
        if rings is None:
            return self
        return MasterKey(self._given, rings.open(self._given))

    def follow(self, setting: str | None) -> None:
        """Use the ring of the database from now on, if it has changed since this process started.

        A ring that does not open leaves everything as it is: the server goes on with the keys that it has.
        """
        try:
            rings = Rings.parse(setting)
            ring = rings.open(self._given) if rings is not None else self._ring
        except ConfigError as error:
            log.warning("the master key that this server has is no longer used: %s", error)
            return
        if ring.root == self._ring.root and ring != self._ring:
            self._ring, self._ciphers = ring, _ciphers(ring)

    def seal(self, plain: bytes, *, purpose: str) -> bytes:
        """Encrypt, so that it opens only for this purpose (such as ``client-secret/billing``)."""
        return _seal(self._ciphers[0], plain, purpose)

    def unseal(self, sealed: bytes, *, purpose: str) -> bytes:
        for cipher in self._ciphers:
            with suppress(InvalidTag):
                return _unseal(cipher, sealed, purpose)
        raise ConfigError(f"{purpose} does not open with this master key: use the one that this database was made with")

    def resealed(self, sealed: bytes, *, purpose: str) -> bytes | None:
        """Return the same under the newest key; None if it is already."""
        with suppress(InvalidTag):
            _unseal(self._ciphers[0], sealed, purpose)
            return None
        return self.seal(self.unseal(sealed, purpose=purpose), purpose=purpose)

    def digest(self, secret: str) -> bytes:
        """Return what is stored of a secret that must only be recognised: useless without the master key."""
        return hmac.digest(self._digest, secret.encode(), sha256)

    def successor(self, refresh_token: str) -> str:
        """Return the only refresh token that may follow this one.

        It is a function of its predecessor, so that two rotations of one token cannot make two successors, and a
        client whose answer was lost gets the same one again although only hashes are stored.
        """
        return base64url.encode(hmac.digest(self._successor, refresh_token.encode(), sha256))


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one installation, 256 bits each.

    Attributes:
        root: the first master key: digests, refresh tokens and the audit chain depend on it, and it never changes.
        seals: the keys that open what is sealed, the newest first; the first one seals.
        coming: a key that opens, and will seal as soon as every server knows it.
    """

    root: bytes = field(repr=False)
    seals: tuple[bytes, ...] = field(repr=False)
    coming: bytes | None = field(default=None, repr=False)


class Rings(msgspec.Struct, frozen=True):
    """The setting SETTING of the database.

    Attributes:
        sealed: the ring, sealed under each master key that opens it, by fingerprint; two during a rotation.
        newest: fingerprint of the master key of the last rotation.
        rotated_at: when that was.
    """

    sealed: dict[str, bytes]
    newest: str
    rotated_at: int

    @property
    def former(self) -> str | None:
        """The fingerprint of the master key that opens the ring until the rotation is finished."""
        return next((name for name in self.sealed if name != self.newest), None)

    def to_text(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str | None) -> Rings | None:
        try:
            return msgspec.json.decode(text, type=cls) if text is not None else None
        except (msgspec.DecodeError, UnicodeError):
            raise ConfigError(f"the setting {SETTING} of the database was altered: {_RESTORE}") from None

    def open(self, given: bytes) -> Ring:
        name = fingerprint(given)
        if name not in self.sealed:
            raise ConfigError(
                f"this database needs another master key: that with the fingerprint {self.newest}, not {name}"
            )
        try:
            plain = _unseal(_ring_cipher(given), self.sealed[name], SETTING)
            members = msgspec.json.decode(plain, type=_Members)
        except (InvalidTag, msgspec.DecodeError):  # Attack: a ring of the attacker's own keys
            raise ConfigError(f"the setting {SETTING} of the database was altered: {_RESTORE}") from None
        return Ring(members.root, members.seals, members.coming)


class _Members(msgspec.Struct):
    root: bytes
    seals: tuple[bytes, ...]
    coming: bytes | None


def seal_ring(ring: Ring, given: bytes) -> bytes:
    """Seal the ring under a master key."""
    plain = msgspec.json.encode(_Members(ring.root, ring.seals, ring.coming))
    return _seal(_ring_cipher(given), plain, SETTING)


def fingerprint(material: bytes) -> str:
    """Return the name of a master key, 16 hexadecimal digits."""
    return _derive(material, b"fingerprint")[:8].hex()


def _ring_cipher(given: bytes) -> AESGCM:
    return AESGCM(_derive(given, b"ring"))


def _ciphers(ring: Ring) -> tuple[AESGCM, ...]:
    coming = (ring.coming,) if ring.coming is not None else ()
    return tuple(AESGCM(_derive(key, b"seal")) for key in (*ring.seals, *coming))


def _seal(cipher: AESGCM, plain: bytes, purpose: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, purpose.encode())


def _unseal(cipher: AESGCM, sealed: bytes, purpose: str) -> bytes:
    if len(sealed) < _NONCE_BYTES:  # for which the library has another error
        raise InvalidTag
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())


def parse(text: str) -> bytes:
    """Return the bytes of a master key that was written as text, or raise ConfigError, without the text."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    if re.fullmatch(r"[A-Za-z0-9_-]{43}=?", text):
        return urlsafe_b64decode(text.rstrip("=") + "=")
    raise ConfigError(_SPELLINGS)


def _derive(material: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=BYTES, salt=None, info=b"affiant " + purpose).derive(material)
