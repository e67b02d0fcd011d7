"""Make a signer of whatever names a private key that this process may hold."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from affiant.errors import LocalError
from affiant.jose import pem
from affiant.jose.signer import Signer
from affiant.signers import opening
from affiant.signers.checked import Checked


def load_signer(key: Any, alg: str | None = None, kid: str | None = None) -> Signer:
    """Return the signer of a private key: PEM or JWK, the path of a file, the name of a key elsewhere, or a Signer.

    Raises:
        ConfigError: the key cannot be used.
        LocalError: this is no key.
    """
    if isinstance(key, bytes):
        key = key.decode("utf-8", "replace")
    if isinstance(key, str) and opening.is_name(key):
        return opening.open_signer(key, alg=alg, kid=kid)
    if isinstance(key, str):
        key = text if pem.is_key(text := pem.unwrap(key)) else Path(text)
    if isinstance(key, Path):
        key = _read_key(key)
    if isinstance(key, str):
        key = pem.parse_private_key(key, alg=alg)
    if isinstance(key, dict):
        key = pem.parse_document(key, alg=alg)
    elif hasattr(key, "private_bytes"):
        key = pem.parse_key_object(key, alg=alg)
    signer = key if isinstance(key, Checked) else _check_signer(key)
    return _Named(signer, kid) if kid is not None else signer


def _check_signer(key: Any) -> Signer:
    """Reject what would fail with the first token."""
    kid = getattr(key, "kid", None)
    is_named = isinstance(getattr(key, "alg", None), str) and (kid is None or isinstance(kid, str))
    if not is_named or not callable(getattr(key, "sign", None)):
        raise LocalError(
            f"key= is a private key as PEM or JWK, the path of a file with one, or a Signer with alg, kid and sign(),"
            f" not {type(key).__name__}"
        )
    if iscoroutinefunction(key.sign):
        raise LocalError(f"sign() of {type(key).__name__} is a coroutine function: a Service calls it on a thread")
    signer: Signer = key
    return signer


def _read_key(path: Path) -> str:
    # Attack: a key that was passed as a path lands in a log. No message shows the name.
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        spellings = "also with \\n for line ends, in quotation marks or in base64"
        raise LocalError(
            f"key= is neither PEM nor a JWK ({spellings}), and no file that can be read either ({why})"
        ) from None


@dataclass(frozen=True, slots=True)
class _Named:
    """A signer with the kid under which the server has its key."""

    signer: Signer
    kid: str | None

    @property
    def alg(self) -> str:
        return self.signer.alg

    def sign(self, data: bytes) -> bytes:
        return self.signer.sign(data)
