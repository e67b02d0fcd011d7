"""The password of an encrypted private key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from affiant.errors import ConfigError, LocalError
from affiant.system.files import read_secret

VARIABLE, FILE_VARIABLE = "AFFIANT_KEY_PASSWORD", "AFFIANT_KEY_PASSWORD_FILE"


class Password:
    """The given password, or the one that the environment names. It is looked up when a key needs it."""

    def __init__(self, given: Any = None) -> None:
        if given is not None and (not isinstance(given, str | bytes) or not given):
            raise LocalError("key_password= is empty, or neither str nor bytes: leave it out for a key without one")
        self._given = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given
        self._is_used = False

    def __call__(self) -> bytes | None:
        self._is_used = True
        return self._given if self._given is not None else _of_environment()

    def __repr__(self) -> str:
        return "Password()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not pickled")

    def check_used(self) -> None:
        """Raise LocalError if a password was given for a key that needs none: the caller takes it for encrypted."""
        if self._given is not None and not self._is_used:
            raise LocalError("key_password= is given, and this key is not encrypted: leave it out, or encrypt the key")


def _of_environment() -> bytes | None:
    text, file = os.environ.get(VARIABLE), os.environ.get(FILE_VARIABLE)
    if text and file:
        raise ConfigError(f"{VARIABLE} and {FILE_VARIABLE} are both set: unset one")
    if text:
        return text.encode("utf-8", "surrogateescape")
    if not file:
        return None
    return read_secret(Path(file), what=f"the password that {FILE_VARIABLE} names", variable=VARIABLE) or None
