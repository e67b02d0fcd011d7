"""Whether who asks has a good copy already (RFC 9110 section 13.1.2)."""

from __future__ import annotations

from starlette.requests import Request


def is_known(request: Request, etag: str) -> bool:
    """Whether If-None-Match has this ETag, by the weak comparison (section 8.8.3.2), or is ``*``."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in known or known == ["*"]
