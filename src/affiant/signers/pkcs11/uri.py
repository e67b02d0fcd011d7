"""Parse the name of a key in a PKCS #11 token (RFC 7512)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from affiant.errors import LocalError
from affiant.signers.pkcs11.session import Which

_PATH = ("token", "manufacturer", "serial", "model", "object", "id", "type")
_QUERY = ("module-path", "pin-source")
_NO_PIN = (
    "a PKCS #11 URI with pin-value= is not read, since URIs are logged and shown: write the PIN into a file (mode 0600)"
    " and name it with pin-source=file:/PATH, or set AFFIANT_PKCS11_PIN"
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class KeyUri(NamedTuple):
    """Which private key, in which token, through which module."""

    which: Which
    label: str | None
    id: bytes | None
    module: Path | None
    pin_file: Path | None

    def __str__(self) -> str:
        return f"the {self.key} in the PKCS #11 token {self.which}"

    @property
    def key(self) -> str:
        label = f" with the label {self.label}" if self.label is not None else ""
        return f"private key{label}" + (f" with the id {self.id.hex()}" if self.id is not None else "")


def parse(place: str) -> KeyUri:
    """Return the parts of a URI, without its scheme ``pkcs11:``.

    Raises:
        LocalError: it is no such URI, has a PIN in it, or an attribute that would be ignored.
    """
    path, _, query = place.partition("?")
    given = _split(path, ";")
    asked = _split(query, "&")
    if "pin-value" in asked or "pin-value" in given:
        raise LocalError(_NO_PIN)
    for names, known in ((given, _PATH), (asked, _QUERY)):
        for name in names:
            if name not in known:  # RFC 7512 section 2.4: what is ignored could mean another key
                raise LocalError(f"a PKCS #11 URI with {name[:40]!r} is not read: it may have {', '.join(known)}")
    if given.get("type", b"private") != b"private":
        raise LocalError("a PKCS #11 URI names a private key: leave type= out, or write  type=private")
    if not {"object", "id"} & given.keys():
        raise LocalError("the PKCS #11 URI does not name a key: add object=LABEL or id=%01")
    if not {"token", "serial"} & given.keys():
        raise LocalError("the PKCS #11 URI does not name a token: add token=LABEL or serial=NUMBER")
    return KeyUri(
        Which(*(_text(given, name) for name in ("token", "serial", "manufacturer", "model"))),
        _text(given, "object"),
        given.get("id"),
        Path(module) if (module := _text(asked, "module-path")) else None,
        _pin_file(_text(asked, "pin-source")),
    )


def _split(text: str, separator: str) -> dict[str, bytes]:
    """Return the attributes by name, decoded."""
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or name in found:  # RFC 7512 section 2.3: each at most once
            raise LocalError("the PKCS #11 URI cannot be read: each attribute is NAME=VALUE, and is given once")
        if _BAD_ESCAPE.search(value):
            raise LocalError(f"the PKCS #11 URI cannot be read: in {name[:40]!r}, % is not followed by two digits")
        found[name] = unquote_to_bytes(value)
    return found


def _text(found: Mapping[str, bytes], name: str) -> str | None:
    try:
        return found[name].decode("utf-8") if name in found else None
    except UnicodeDecodeError:  # not chained: it has the bytes
        raise LocalError(f"the PKCS #11 URI cannot be read: {name!r} is not UTF-8") from None


def _pin_file(source: str | None) -> Path | None:
    """Return the file of a file URI or path (RFC 7512 section 2.4). Reject a program to run, ``|PROGRAM``."""
    if source is None:
        return None
    path = source.removeprefix("file:").removeprefix("//")
    if not path.startswith("/"):
        raise LocalError("pin-source= in the PKCS #11 URI is not a file of this machine: write  pin-source=file:/PATH")
    return Path(path)
