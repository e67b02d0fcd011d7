"""The headers that tell the API behind a proxy who called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from affiant.resource.caller import Caller

IDENTITY = ("Affiant-Issuer", "Affiant-Client-Id", "Affiant-Subject", "Affiant-Scope")

# Attack: WSGI, CGI and PHP take Affiant_Client_Id for Affiant-Client-Id, and a proxy replaces only the latter.
_ALIAS = re.compile("|".join(name.lower().replace("-", "[-_]") for name in IDENTITY).encode())
_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


def is_forged(names: Iterable[bytes]) -> bool:
    """Whether a header has the name of one of these, in a spelling that the proxy does not replace."""
    return any(b"_" in name and _ALIAS.fullmatch(name) for name in names)


def build(caller: Caller | None) -> dict[str, str]:
    """Return every header; empty on a public route, where one that the client sent must not reach the API either."""
    if caller is None:
        return dict.fromkeys(IDENTITY, "")
    scope = " ".join(sorted(map(_escape, caller.scopes)))
    # Attack: with several issuers, a client of one has the name of a client of another.
    names = map(_escape, (caller.issuer, caller.client_id, caller.sub))
    return dict(zip(IDENTITY, (*names, scope), strict=True))


def _escape(value: str) -> str:
    """Escape, as in a URL, what a header cannot carry: an issuer may put any character into a claim."""
    return quote(value, safe=_VISIBLE)
