"""Base64url as RFC 7515 section 2 has it: no padding, one spelling for each value."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# The last characters, by how many stand in the last group, whose unused bits are zero (RFC 4648 section 3.5).
_LAST = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}


def encode(data: bytes) -> str:
    """The text for these bytes."""
    # binascii itself, not base64's functions around it: this runs six times for a token.
    return b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of this text."""
    if _ALPHABET.fullmatch(text) is None:
        raise ValueError("characters outside base64url")
    return decode_letters(text)


def decode_letters(text: str) -> bytes:
    """The bytes of a text that is known to consist of base64url's characters alone."""
    tail = len(text) % 4
    if tail == 1:
        raise ValueError("impossible length")
    if tail and text[-1] not in _LAST[tail]:
        raise ValueError("unused bits are not zero")
    return a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-tail % 4))
