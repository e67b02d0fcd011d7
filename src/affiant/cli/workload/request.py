"""The rules for requests that a proxy forwards, without a network."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from affiant.errors import ConfigError
from affiant.system.urls import is_safe_url

Headers = list[tuple[bytes, bytes]]
Scope = Mapping[str, Any]

# Between two hops (RFC 9110 section 7.6.1, RFC 2616 section 13.5.1).
_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
    }
    | {b"transfer-encoding", b"upgrade"}
)
# The proxy sets these itself. A program that insists on credentials may send any: they end here.
_OURS = frozenset({b"authorization", b"dpop", b"host", b"expect"})
_FOR_THE_PROXY = frozenset({b"dpop-nonce", b"alt-svc"})
_MOST_LAYERS = 4
_CUT = re.compile(r"[;\x00-\x20]")  # where some APIs end the name of a segment
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_ALLOWED, _MISDIRECTED, _NOT_IMPLEMENTED = 400, 401, 403, 405, 421, 501


class Problem(Exception):
    """A request that is not forwarded, or that got no answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail

    def headers(self) -> dict[str, str]:
        closing = {"connection": "close"}  # the rest of the body is not read
        return {**closing, "www-authenticate": "Bearer"} if self.status == _UNAUTHORIZED else closing

    def body(self) -> bytes:
        return json.dumps({"title": "affiant proxy", "status": self.status, "detail": self.detail}).encode()


@dataclass(frozen=True, slots=True)
class Target:
    """The API: its origin, and the path that its requests begin with."""

    origin: str
    prefix: bytes

    @classmethod
    def parse(cls, url: str, *, unsafe_http: bool) -> Target:
        try:
            parts = urlsplit(url)
            is_api = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # half an IPv6 address, or an impossible port
            raise ConfigError("--to has an impossible host or port: write it like https://api.example:8443") from None
        if not is_api or parts.query or parts.fragment:
            raise ConfigError("--to is the URL of an API without a query, such as https://api.example or …/v1")
        if parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
            raise ConfigError("--to has a user, a space or letters outside of ASCII: write it like https://api.example")
        if not unsafe_http and not is_safe_url(url):
            raise ConfigError(
                "the token would go to another machine without TLS: name the API by https, or say --unsafe-http where"
                " something else encrypts the connection"
            )
        return cls(f"{parts.scheme}://{parts.netloc.lower()}", parts.path.rstrip("/").encode())

    def forward(self, scope: Scope) -> bytes:
        """Return the path and query to ask the API for."""
        path: bytes = scope["raw_path"]
        query: bytes = scope["query_string"]
        return self.prefix + path + (b"?" + query if query else b"")

    def back(self, location: bytes, host: bytes) -> bytes:
        """Return the Location of an answer; one at the API becomes one at the proxy."""
        inside = self.origin.encode() + self.prefix
        rest = location[len(inside) :]
        if location[: len(inside)].lower() == inside.lower() and rest[:1] in (b"", b"/", b"?", b"#"):
            return b"http://" + host + rest
        return location


@dataclass(frozen=True, slots=True)
class Admission:
    """The conditions under which a request is forwarded.

    Attributes:
        names: accepted in Host; None for a Unix socket, which no browser reaches.
        secret: that programs send as `Authorization: Bearer`; None if they need none.
    """

    names: frozenset[bytes] | None
    secret: bytes | None = field(default=None, repr=False)

    def check(self, headers: Headers) -> None:
        if self.secret is None:
            return
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(text.strip(), self.secret):
            raise Problem(_UNAUTHORIZED, "send the secret of this proxy as  Authorization: Bearer SECRET")


def check(scope: Scope, admission: Admission) -> None:
    """Raise Problem for a request that is not forwarded."""
    names = admission.names
    headers: Headers = scope["headers"]
    if not scope["raw_path"].startswith(b"/"):
        raise Problem(_MISDIRECTED, "write the path alone: this is no proxy for other hosts")
    if names is not None:
        hosts = [value.lower() for name, value in headers if name == b"host"]
        # Attack: DNS rebinding. A name of the attacker resolves to this port in a browser.
        if len(hosts) != 1 or hosts[0] not in names:
            raise Problem(_MISDIRECTED, "the Host is none of this proxy: call it by the address that it listens on")
    admission.check(headers)
    given = {name for name, _ in headers}
    # Attack: a web page sends requests to local ports. Only browsers have these headers, and pages cannot remove them.
    if given & {b"origin", b"sec-fetch-site"}:
        raise Problem(_FORBIDDEN, "this proxy is for programs: requests of web pages are refused")
    # Attack: request smuggling (RFC 9112 section 6.1).
    if {b"content-length", b"transfer-encoding"} <= given:
        raise Problem(_BAD_REQUEST, "a request has Content-Length or Transfer-Encoding, and not both")
    # TRACE would send the token back. Attack: the library that asks the API writes "trace" in upper case.
    if (method := scope["method"].upper()) in ("TRACE", "CONNECT"):
        raise Problem(_NOT_ALLOWED, f"{method} is not forwarded")
    if any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers):
        raise Problem(_NOT_IMPLEMENTED, "WebSockets are not forwarded: use an SDK of affiant for them")
    _check_path(scope["raw_path"])


def _check_path(path: bytes) -> None:
    """Attack: dots that the API resolves take a path out of the prefix that the proxy is for."""
    segments = _plain(path.decode("ascii", "replace")).replace("\\", "/").split("/")
    if any(_CUT.split(segment)[0] in (".", "..") for segment in segments) or b"#" in path:
        raise Problem(_BAD_REQUEST, "the path has a segment . or .., or a fragment: write the path that is meant")


def _plain(path: str) -> str:
    """Decode until nothing is encoded: what is before an API may decode once, and the API once more."""
    for _ in range(_MOST_LAYERS):
        if (decoded := unquote(path)) == path:
            return path
        path = decoded
    raise Problem(_BAD_REQUEST, f"the path is encoded more than {_MOST_LAYERS - 1} times: write the path that is meant")


def host_of(scope: Scope, admission: Admission) -> bytes:
    """Return the name by which the program called the proxy, checked before."""
    return (
        b"localhost" if admission.names is None else next(value for name, value in scope["headers"] if name == b"host")
    )


def to_api(headers: Headers) -> Headers:
    """Return the headers of a request for the API."""
    return _without(headers, _HOP | _OURS)


def to_program(headers: Iterable[tuple[bytes, bytes]], target: Target, host: bytes) -> Headers:
    """Return the headers of an answer for the program."""
    kept = _without([(name.lower(), value) for name, value in headers], _HOP | _FOR_THE_PROXY)
    return [(name, target.back(value, host) if name == b"location" else value) for name, value in kept]


def _without(headers: Headers, names: frozenset[bytes]) -> Headers:
    listed = {part.strip().lower() for name, value in headers if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in headers if name not in names and name not in listed]
