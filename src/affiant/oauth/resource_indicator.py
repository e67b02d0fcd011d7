"""Resource indicators (RFC 8707 section 2)."""

from __future__ import annotations

import re

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]{1,2000}")


def parse(text: str) -> str:
    """The same text, when it is an absolute URI without a fragment.

    Raises:
        ValueError: it is not.
    """
    if _ABSOLUTE.fullmatch(text) is None:
        raise ValueError("not an absolute URI without a fragment")
    return text
