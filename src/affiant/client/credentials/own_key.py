"""Find the private key that a credentials file has or names."""

from __future__ import annotations

from typing import Any

from affiant.client.credentials.file import ENVIRONMENT, Credentials
from affiant.client.protocol import profiles
from affiant.client.protocol.credential import load_key
from affiant.errors import LocalError
from affiant.jose.signer import Signer
from affiant.signers import sources
from affiant.signers.forms.spelling import is_key, may_be_key, unwrap
from affiant.signers.local import KeySource


def locate(found: Credentials) -> Any:
    """Return what a Service takes as its private key; None if these credentials have a secret, or a certificate alone.

    Raises:
        LocalError: the key cannot be where they say.
    """
    name = found.file or ENVIRONMENT
    if found.platform is not None:
        return found.platform
    if found.key_text is not None:
        return KeySource(found.key_text, sources.VARIABLE)
    if found.signer is not None:
        return KeySource(found.signer, f'{name}: "signer"')
    if found.key_file is not None:
        return _locate_file(found, found.key_file, f'{name}: the "key_file"')
    return None if found.key is None else KeySource(found.key, f'{name}: "key"')


def load(found: Credentials) -> Signer | None:
    """Return the key as a Service signs with it: by an algorithm of the profile.

    Raises:
        ConfigError, LocalError: it cannot be used.
    """
    located = locate(found)
    return None if located is None else load_key(located, found.alg, found.kid, profiles.find(found.profile))


def _locate_file(found: Credentials, source: str, what: str) -> KeySource:
    if is_key(unwrap(source)):
        raise LocalError(f'{what} is the name of a file, and this is the key itself: a JWK goes into "key"')
    scheme, rest = sources.split(source)
    if not may_be_key(rest):
        what = f"{what} {source}"
    if scheme not in ("", "file"):
        return KeySource(source, what)
    path = found.folder / rest
    try:
        path.stat()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not the name of a file"
        cause = error if isinstance(error, OSError) and not may_be_key(rest) else None  # it has the name
        raise LocalError(f"{what} cannot be read: {why}") from cause
    return KeySource(path, what)
