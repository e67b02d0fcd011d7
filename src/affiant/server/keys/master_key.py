"""The master key seals secrets that must be recoverable, and digests those that must only be recognised.

AES-256-GCM, HMAC-SHA-256 and HKDF are `cryptography`'s; this module only applies them.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from affiant.errors import ConfigError
from affiant.jose import base64url
from affiant.system.files import create_private, denied, read_private

ENVIRONMENT = "AFFIANT_MASTER_KEY"
FILE_NAME = "master.key"
_BYTES, _NONCE_BYTES = 32, 12


@dataclass(frozen=True, slots=True)
class MasterKey:
    """256 bits, from which a key for each purpose is derived."""

    _seal: bytes = field(repr=False)
    _digest: bytes = field(repr=False)
    _successor: bytes = field(repr=False)
    audit: bytes = field(repr=False)  # for the chain of the audit log

    @classmethod
    def from_bytes(cls, material: bytes) -> MasterKey:
        if len(material) != _BYTES:
            raise ConfigError("the master key must be 32 bytes: 64 hexadecimal digits, or 43 characters of base64url")
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


def load(folder: Path, environment: Mapping[str, str] = os.environ) -> MasterKey:
    """Return the master key from AFFIANT_MASTER_KEY, or from the file in the data folder."""
    given = environment.get(ENVIRONMENT)
    return MasterKey.from_bytes(_material(given) if given else _from_file(folder / FILE_NAME))


def make(folder: Path, environment: Mapping[str, str] = os.environ) -> bool:
    """Make the file of a master key, unless it exists or AFFIANT_MASTER_KEY is set; return whether it was made.

    Call it only where there is no database yet: records that were written under another key could not be read.
    """
    path = folder / FILE_NAME
    if environment.get(ENVIRONMENT) or path.exists():
        return False
    try:
        return _write_anew(path)
    except OSError as error:
        raise ConfigError(f"the master key {path} cannot be written: {error.strerror}{denied(path, error)}") from error


def take_back(folder: Path) -> None:
    """Remove the file that `make` has just made: the database that was found has another key."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def _from_file(path: Path) -> bytes:
    try:
        return _material(read_private(path, what="the master key", variable=ENVIRONMENT).decode("ascii").strip())
    except FileNotFoundError:
        raise ConfigError(
            f"the master key {path} is missing, and the database was made under it: put it back, or set {ENVIRONMENT}"
        ) from None
    except UnicodeDecodeError:  # not chained: it has the bytes of the secret
        raise ConfigError(f"the master key {path} cannot be read: not ASCII") from None


def _write_anew(path: Path) -> bool:
    # Race: written under another name and then linked, so that a second process sees all of it or nothing.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = create_private(draft, flags=os.O_WRONLY)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False  # the other process was first; its key is used
    else:
        return True
    finally:
        draft.unlink()


def _material(text: str) -> bytes:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    if re.fullmatch(r"[A-Za-z0-9_-]{43}=?", text):
        return urlsafe_b64decode(text.rstrip("=") + "=")
    raise ConfigError("the master key must be 32 bytes: 64 hexadecimal digits, or 43 characters of base64url")


def _derive(material: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=_BYTES, salt=None, info=b"affiant " + purpose).derive(material)
