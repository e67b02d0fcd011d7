"""Base64url (RFC 7515 section 2): without padding, with one encoding of each value.

Attack: a second encoding of a signature passes for another token.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# The last characters whose unused bits are zero, by the length of the last group (RFC 4648 section 3.5).
_LAST = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}


def encode(data: bytes) -> str:
    # binascii, not the slower functions of base64: this runs six times for a token.
    return b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Decode strictly, or raise ValueError."""
    if _ALPHABET.fullmatch(text) is None:
        raise ValueError("characters outside base64url")
    return decode_letters(text)


def decode_letters(text: str) -> bytes:
    """Decode a text that has only characters of base64url."""
    tail = len(text) % 4
    if tail == 1:
        raise ValueError("impossible length")
    if tail and text[-1] not in _LAST[tail]:
        raise ValueError("unused bits are not zero")
    return a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-tail % 4))
