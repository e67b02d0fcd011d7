"""Where a token may go: to one origin, and to no other machine without TLS."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from affiant.errors import LocalError
from affiant.system.urls import PORTS, is_safe_url, join_host


class WrongOrigin(LocalError):
    """The request goes to another origin than that of the token. Nothing was sent."""


class NoTls(LocalError):
    """The token would go to another machine without TLS. Nothing was sent."""


class Destination(NamedTuple):
    """The origin that the token of one API may go to.

    Attributes:
        origin: the only one, or None for any.
        is_clear_allowed: whether another machine may get it without TLS.
    """

    origin: str | None
    is_clear_allowed: bool

    @classmethod
    def of(cls, resource: str | None, origin: str | None, *, unsafe_http: bool) -> Destination:
        """Return the named origin, or that of the resource if it is a URL."""
        if origin is None and resource is not None and resource.lower().startswith(("http:", "https:")):
            origin = resource
        return cls(parse_origin(origin) if origin is not None else None, unsafe_http)

    def check(self, url: str) -> None:
        """Raise WrongOrigin or NoTls if a request to this URL must not have the token."""
        origin = parse_origin(url)
        if self.origin is not None and origin != self.origin:
            raise WrongOrigin(
                f"this token is for {self.origin}, but the request goes to {origin}: nothing was sent;"
                " if that is right, name the origin with service.auth(…, origin=…)"
            )
        # Attack (RFC 6750 section 5.3): a token is read off the network.
        if not self.is_clear_allowed and not is_safe_url(origin):
            raise NoTls(
                f"the token would go to {origin} without TLS: nothing was sent; use https, or say"
                " service.auth(…, unsafe_http=True) where something else encrypts the connection"
            )

    def check_hop(self, url: str, library: str) -> None:
        """Check one hop for a library that calls again after a redirect.

        Attack: that call looks like the first, so without a named origin the token would go wherever the API redirects.
        """
        if self.origin is None:
            raise LocalError(f"with {library} name the origin of the API: service.auth(…, origin=…)")
        self.check(url)


def parse_origin(url: str) -> str:
    """Return the origin of a URL, with its port."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise LocalError(f"{url!r} is not an http or https URL: write it like https://api.example") from None
    if not parts.hostname:
        raise LocalError(f"{url!r} names no host: write it like https://api.example")
    return f"{parts.scheme}://{join_host(parts.hostname, port)}"
