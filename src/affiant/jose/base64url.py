"""Base64url as RFC 7515 section 2 has it: no padding, one spelling for each value."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def encode(data: bytes) -> str:
    """The text for these bytes."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of this text.

    Raises:
        ValueError: a foreign character, padding, an impossible length, or unused bits that are not zero. Were any
            of those let through, one signature would have several spellings (RFC 7515 section 2).
    """
    if _ALPHABET.fullmatch(text) is None:
        raise ValueError("characters outside base64url")
    return decode_letters(text)


def decode_letters(text: str) -> bytes:
    """The bytes of a text that is known to consist of base64url's characters alone.

    Raises:
        ValueError: an impossible length, or unused bits that are not zero.
    """
    if len(text) % 4 == 1:
        raise ValueError("impossible length")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Only the last character can hide bits, so only the last group is encoded again.
    tail = len(text) % 4
    if tail and encode(data[-(tail - 1) :]) != text[-tail:]:
        raise ValueError("unused bits are not zero")
    return data
