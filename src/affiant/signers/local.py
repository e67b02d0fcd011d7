"""Make a signer of a private key in any form, or of its name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from affiant.errors import ConfigError, LocalError
from affiant.jose import jwk
from affiant.jose.keys import PrivateKey, SecretKey
from affiant.jose.signer import Renamed, Signer
from affiant.signers import opening, sources
from affiant.signers.awaited import Awaited
from affiant.signers.checked import Checked
from affiant.signers.forms import documents, pem, spelling
from affiant.signers.password import Password


@dataclass(frozen=True, slots=True)
class KeySource:
    """A private key as it was given, and its place, for messages."""

    key: Any = field(repr=False)
    name: str


def load_signer(
    key: Any, alg: str | None = None, kid: str | None = None, *, password: str | bytes | None = None
) -> Signer:
    """Return the signer of a private key.

    Args:
        key: PEM, PKCS #12, a JWK or a JWK Set, as text or bytes; the path of a file with one; ``env:NAME``,
            ``file:PATH`` or ``keyring:SERVICE/USER``; the name of a key that is held elsewhere, such as
            ``awskms:alias/billing``; a private key of the package cryptography; or a Signer, whose ``sign()`` may be
            asynchronous.
        alg: the algorithm, if the key names none.
        kid: for the header; in a JWK Set it chooses the key.
        password: of an encrypted key; else AFFIANT_KEY_PASSWORD, or the file that AFFIANT_KEY_PASSWORD_FILE names.

    Raises:
        ConfigError: the key cannot be used.
        LocalError: this is no key.
    """
    if isinstance(key, KeySource):
        try:
            return load_signer(key.key, alg, kid, password=password)
        except (ConfigError, LocalError) as error:
            raise LocalError(f"{key.name}: {str(error).removeprefix('key= ')}") from error.__cause__
    jwk.kid({"kid": kid})
    asked = Password(password)
    signer = _load(key, alg, kid, asked)
    asked.check_used()
    if kid is None or isinstance(signer, Checked) or kid == signer.kid:  # Checked has it, and may ask another for it
        return signer
    return Renamed(signer, kid)


def find_local(signer: Signer) -> PrivateKey | None:
    """Return the private key with its name, or None if it is held elsewhere."""
    if isinstance(signer, Renamed) and isinstance(signer.signer, PrivateKey):
        named = signer.signer
        return replace(named, kid=signer.kid or named.kid, jwk={**named.jwk, "kid": signer.kid})
    return signer if isinstance(signer, PrivateKey) else None


def _load(key: Any, alg: str | None, kid: str | None, asked: Password) -> Signer:
    if isinstance(key, bytes):
        key = spelling.decode(key)
    if isinstance(key, str) and opening.is_name(name := spelling.unwrap(key)):
        return opening.open_signer(name, alg=alg, kid=kid)
    if isinstance(key, Path) or (isinstance(key, str) and not spelling.is_key(spelling.unwrap(key))):
        key = sources.read(key)
    if isinstance(key, str):
        return documents.parse_private_key(key, alg=alg, kid=kid, password=asked)
    if isinstance(key, dict):
        return documents.parse_document(key, alg=alg, kid=kid, password=asked)
    if hasattr(key, "private_bytes"):
        return pem.parse_key_object(key, alg=alg)
    return _check_signer(key)


def _check_signer(key: Any) -> Signer:
    """Reject an object that would fail with the first token."""
    if isinstance(key, Checked):  # its alg may be known only to the service that holds the key
        return key
    kid = getattr(key, "kid", None)
    is_named = isinstance(getattr(key, "alg", None), str) and (kid is None or isinstance(kid, str))
    if not is_named or not callable(getattr(key, "sign", None)):
        raise LocalError(
            f"key= is a private key as PEM or JWK, the path of a file with one, or a Signer with alg, kid and sign(),"
            f" not {type(key).__name__}"
        )
    signer: Signer = key if isinstance(key, PrivateKey | SecretKey | Renamed) else Awaited(key)
    return signer
