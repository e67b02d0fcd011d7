"""Resource indicators (RFC 8707 section 2)."""

from __future__ import annotations

import re

# RFC 3986: a scheme, a colon, then any of the characters that a URI has (without #), where % begins an escape.
ABSOLUTE = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{0,31}:(?=.{1,2000}\Z)"
    r"(?:[\x21\x24\x26-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]|%[0-9A-Fa-f]{2})+"
)
_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def parse(text: str) -> str:
    """The same text, when it is an absolute URI without a fragment."""
    if ABSOLUTE.fullmatch(text) is None:
        # RabbitMQ and others know their APIs by bare names, and take any text.
        example = f"urn:{text}" if _BARE.fullmatch(text) else "https://api.example"
        raise ValueError(f"an absolute URI without a fragment, such as {example}")
    return text
