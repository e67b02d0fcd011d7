"""Resource indicators (RFC 8707 section 2)."""

from __future__ import annotations

import re

# RFC 3986: a scheme, a colon, and characters of a URI without #, where % begins an escape.
ABSOLUTE = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{0,31}:(?=.{1,2000}\Z)"
    r"(?:[\x21\x24\x26-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]|%[0-9A-Fa-f]{2})+"
)
_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def parse(text: str) -> str:
    """Return the text if it is an absolute URI without a fragment."""
    if ABSOLUTE.fullmatch(text) is None:
        # RabbitMQ and others name their APIs by a bare word, and accept any text.
        example = f"urn:{text}" if _BARE.fullmatch(text) else "https://api.example"
        raise ValueError(f"an absolute URI without a fragment, such as {example}")
    return text
