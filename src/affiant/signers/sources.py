"""Where the text of a private key is: in a file, a variable, or the keyring of the operating system."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from affiant.errors import ConfigError, LocalError, SignerError
from affiant.signers import opening
from affiant.signers.forms.spelling import decode, is_key, unwrap
from affiant.system.files import read_private

VARIABLE = "AFFIANT_KEY"
KEYRING_SECONDS = 60.0  # for a person who unlocks it
_SCHEME = re.compile(r"([a-z][a-z0-9+-]+):(?!\\)(.*)", re.DOTALL)  # not C:\\, a drive of Windows
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def split(text: str) -> tuple[str, str]:
    """Return the scheme of a source such as ``env:NAME`` and the rest; no scheme for a path or a key."""
    plain = unwrap(text)
    if is_key(plain):
        return "", text
    found = _SCHEME.fullmatch(plain)
    return (found[1], found[2]) if found else ("", text)


def read(source: str | Path) -> str:
    """Return the text that a path, or a source of SOURCES, names.

    Raises:
        LocalError: there is none. The message shows no path that may be a key by mistake.
    """
    scheme, rest = split(source) if isinstance(source, str) else ("", str(source))
    if not rest.strip():
        raise LocalError("key= is empty: give a private key, or name the place of one")
    if not scheme:
        return _read_file(rest)
    if scheme not in SOURCES:
        known = ", ".join(f"{one}:" for one in (*SOURCES, *opening.SCHEMES))
        raise LocalError(f"key= begins with {scheme}:, which names no place of keys: known are {known}")
    return SOURCES[scheme](rest)


def read_text(key: str) -> str:
    """Return the text of a key that is given as itself, or by its path or source."""
    return key if is_key(unwrap(key)) else read(key)


def find_mark(source: object, *, folder: Path = Path()) -> str:
    """Return a text that differs for another key, and reveals none: the digest of the file, else of the source."""
    text = source if isinstance(source, str) else str(source)
    scheme, rest = split(text)
    data = (os.environ.get(rest, "") if scheme == "env" else text).encode("utf-8", "surrogatepass")
    if scheme in ("", "file") and not is_key(unwrap(rest)):
        with suppress(OSError, ValueError, ConfigError):
            if (path := folder / unwrap(rest)).is_file():  # a pipe is read once, for the key itself
                data = read_private(path, what="the private key", variable=VARIABLE)
    return sha256(data).hexdigest()


def is_file(source: object) -> bool:
    """Whether this names a file, which may be rotated and read again."""
    if isinstance(source, str):
        return not is_key(unwrap(source)) and split(source)[0] in ("", "file")
    return isinstance(source, Path)


def _read_file(name: str) -> str:
    path = Path(unwrap(name))
    try:
        path.stat()
        return decode(read_private(path, what="the private key", variable=VARIABLE))
    except ConfigError as error:
        raise LocalError(str(error)) from error.__cause__
    except (OSError, ValueError) as error:
        # Attack: a key that was passed as a path is logged. No message shows the name of a file that does not exist.
        why = error.strerror if isinstance(error, OSError) else "not a name"
        raise LocalError(
            "key= is no private key (PEM, also with \\n for line ends, in quotation marks or in base64, JWK, JWK Set,"
            f" PKCS #12), and no file that can be read either ({why})"
        ) from None


def _read_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise LocalError("key= begins with env: and is followed by no name of a variable, as in  env:BILLING_KEY")
    text = os.environ.get(name, "")
    if not text.strip():
        raise LocalError(f"key= names the variable {name}, which is {'empty' if name in os.environ else 'not set'}")
    if not is_key(unwrap(text)):  # one step: a variable that names a file is no key
        raise LocalError(f"the variable {name} has no private key: to name a file, write  file:PATH")
    return text


def read_keyring(name: str) -> str:
    """Return the text of ``keyring:SERVICE/USER``, given without its scheme."""
    service, slash, user = name.partition("/")
    if not (service and slash and user):
        raise LocalError("key= begins with keyring: and is followed by SERVICE/USER, as in  keyring:affiant/billing")
    keyring = open_keyring()
    from affiant.signers.threads import CallThreads  # noqa: PLC0415 - it loads asyncio

    try:  # it may wait for a person to unlock it, even on a server
        text: str | None = CallThreads("the keyring").wait(
            lambda: keyring.get_password(service, user), seconds=KEYRING_SECONDS
        )
    except SignerError as error:
        raise LocalError(f"{error}: unlock it, or name a file instead") from None
    except Exception as error:  # noqa: BLE001 - each keyring has its own
        raise LocalError(f"the keyring cannot be used ({type(error).__name__}): is it there, and unlocked?") from None
    if text is None:
        raise LocalError(f"the keyring has nothing for {service}/{user}: run  keyring set {service} {user}")
    return text


def open_keyring() -> Any:
    """Return the package keyring, or raise LocalError."""
    try:
        return import_module("keyring")
    except ImportError:
        raise LocalError("the keyring needs the package keyring: pip install 'affiant[keyring]'") from None


SOURCES: dict[str, Callable[[str], str]] = {"env": _read_variable, "file": _read_file, "keyring": read_keyring}
