"""The request that a client sent, as its proxy describes it.

Attack: the client sends the headers of that description. So those of one kind of proxy are read and no others, and one
that has come twice is refused: the client sent the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from affiant.oauth.resource_request import Scope
from affiant.resource.answers import NO_ROUTE, Denied

CHECK = "/check"  # the path at which proxies ask

_METHOD = re.compile(rb"[A-Z][A-Z-]{0,31}")
_PATH = re.compile(rb"""/(?:[!"$&-:<-\>@-\[\]-~]|%[0-9A-Fa-f]{2})*""")  # visible ASCII without # ; and backslash
# Attack: a router decodes a second time, or drops the parameters of a segment, and serves another route.
_AMBIGUOUS = re.compile(r"%[0-9A-Fa-f]{2}|[;\x7f-\x9f]", re.ASCII)

MISSTATED = replace(NO_ROUTE, status=400, error="invalid_request", body=b'{"error": "invalid_request"}')


class Kind(NamedTuple):
    """The headers, in lower case, in which a proxy describes a request; None if it repeats the line of the request."""

    method: bytes | None
    target: bytes | None


KINDS = {
    "nginx": Kind(b"x-original-method", b"x-original-uri"),
    "caddy": Kind(b"x-forwarded-method", b"x-forwarded-uri"),
    "traefik": Kind(b"x-forwarded-method", b"x-forwarded-uri"),
    "envoy": Kind(None, None),  # CHECK in front of the path
}


def read(scope: Scope, kind: Kind) -> Scope | Denied:
    """Return the scope of the request that the client sent, or the refusal of one that has no single reading."""
    if not scope["path"].startswith(CHECK) or (kind.target is not None and scope["path"] != CHECK):
        return NO_ROUTE
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    method = scope["method"].encode() if kind.method is None else _only(headers, kind.method)
    target = _own_target(scope) if kind.target is None else _only(headers, kind.target)
    if method is None or target is None:
        return MISSTATED
    raw_path, _, query = target.partition(b"?")
    path = _decode(raw_path)
    if path is None or not _METHOD.fullmatch(method):
        return NO_ROUTE
    return {
        "type": "http",
        "method": method.decode("ascii"),
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "client": scope.get("client"),
    }


def _only(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    values = [value for name, value in headers if name == wanted]
    return values[0] if len(values) == 1 else None


def _own_target(scope: Scope) -> bytes:
    query = scope.get("query_string", b"")
    raw_path: bytes = scope.get("raw_path") or b""
    return raw_path.removeprefix(CHECK.encode()) + (b"?" + query if query else b"")


def _decode(raw_path: bytes) -> str | None:
    """Return the path, decoded once, or None if it is none, or if a router may take it for another one."""
    if not _PATH.fullmatch(raw_path):
        return None
    try:
        path = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return None
    return None if _AMBIGUOUS.search(path) else path
