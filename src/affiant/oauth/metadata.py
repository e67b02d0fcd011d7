"""Authorization server metadata (RFC 8414): its URL, and the checks of its content."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import msgspec

from affiant.errors import RemoteError
from affiant.jose.strict_json import parse_object
from affiant.oauth import names
from affiant.system.urls import is_safe_url

_URL = re.compile(
    r"[a-z]+://(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][!#-;=?-Z\[\]_a-z~]*)?", re.ASCII
)
OK, TOO_MANY = 200, 429
_SERVER_ERRORS = range(500, 600)
ELSEWHERE = frozenset(range(400, 500)) - {TOO_MANY}  # some servers answer 400, 403 or 405 where there is nothing


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a server, checked to be of the expected issuer."""

    issuer: str
    token_endpoint: str | None  # None if the server only publishes keys: a guard needs no more
    jwks_uri: str | None  # optional, since a client needs none (RFC 8414 section 2)
    raw: dict[str, Any] = field(repr=False, compare=False)
    revocations_uri: str | None = None  # of the feed (revocations.py), which only affiant has

    def over_mtls(self) -> Metadata:
        """Return the metadata with the endpoints for clients with a certificate (RFC 8705 section 5)."""
        url = self.alias("token_endpoint")
        return self if url is None else replace(self, token_endpoint=url)

    def alias(self, name: str) -> str | None:
        """Return the URL of an endpoint for clients with a certificate (RFC 8705 section 5), or None."""
        aliases = self.raw.get("mtls_endpoint_aliases")
        url = aliases.get(name) if isinstance(aliases, dict) else None
        if url is not None and (not isinstance(url, str) or not is_safe_url(url)):
            raise ValueError(f"{name} of mtls_endpoint_aliases must be an https URL (http only on loopback)")
        return url

    def require_jwks_uri(self) -> str:
        """Return the address of the server's keys."""
        if self.jwks_uri is None:
            raise ValueError(f"the metadata of {self.issuer} have no jwks_uri: its tokens cannot be verified by a key")
        return self.jwks_uri

    def endpoint(self, name: str) -> str | None:
        """Return the URL of an endpoint, or None if the server has none."""
        url = self.raw.get(name)
        if url is not None and (not isinstance(url, str) or not is_safe_url(url)):
            raise ValueError(f"{name} must be an https URL (http only on loopback)")
        return url


@dataclass(frozen=True, slots=True)
class Reach:
    """Where requests to an issuer go: `inner` replaces `outer`, the scheme, host and port of its addresses."""

    outer: str
    inner: str

    @classmethod
    def of(cls, identifier: str, reach: str | None = None, unsafe_reach: str | None = None) -> Reach:
        """Return the way to this issuer; raise ValueError if the two options name no place where a server listens."""
        outer = "/".join(identifier.split("/")[:3])
        if reach is not None and unsafe_reach is not None:
            raise ValueError("give reach= or unsafe_reach=, not both")
        given = reach if reach is not None else unsafe_reach
        if given is None:
            return cls(outer, outer)
        if given != _origin(given):
            raise ValueError(f"reach={given!r} is not where a server listens: write it like https://as.internal:8377")
        if unsafe_reach is None and not is_safe_url(given):
            raise ValueError(f"reach={given!r} is http, which a machine in between can change: https, or unsafe_reach=")
        return cls(outer, given)

    def inward(self, url: str) -> str:
        """Return where an address of the issuer is reached. Addresses of others stay as they are."""
        is_its_own = f"{url}/".lower().startswith(f"{self.outer}/".lower())  # RFC 3986 section 6.2.2.1
        return self.inner + url[len(self.outer) :] if is_its_own else url

    def outward(self, body: bytes) -> bytes:
        """Return the metadata with the issuer's addresses: some servers name those by which they were asked."""
        if self.inner == self.outer:
            return body
        try:
            members = parse_object(body)
        except ValueError:
            return body  # the next step says what is wrong with it
        return msgspec.json.encode({name: self._outward(value) for name, value in members.items()})

    def _outward(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(f"{self.inner}/"):
            return self.outer + value[len(self.inner) :]
        if isinstance(value, dict):  # mtls_endpoint_aliases
            return {name: self._outward(url) if isinstance(url, str) else url for name, url in value.items()}
        return value


def _origin(url: str) -> str | None:
    """Return the scheme, host and port of an http or https URL."""
    try:
        parts = urlsplit(url)
        found = f"{parts.scheme}://{parts.netloc}" if parts.hostname and parts.port != 0 else ""
    except (ValueError, TypeError, AttributeError):
        return None
    return found if found.startswith(("https://", "http://")) and "@" not in found else None


def check_own_issuer(issuer: str) -> str:
    """Return an issuer that this server may have: one with a single normal form."""
    if issuer.endswith("/") or issuer.lower().split("/")[2:3] != issuer.split("/")[2:3]:
        raise ValueError("an issuer must not end in a slash, and its host must be in lower case")
    return check_issuer(issuer)


def check_issuer(issuer: str) -> str:
    """Return the text if it can be an issuer identifier (RFC 8414 section 2); a slash at its end belongs to it."""
    if "://" not in issuer:
        raise ValueError("an issuer is a whole URL, such as https://as.example")
    if _URL.fullmatch(issuer) is None:  # it is sent in headers and compared as a string
        raise ValueError(
            "an issuer must be a URL: no spaces, quotes or line ends, a port of digits, escapes for the rest"
        )
    parts = urlsplit(issuer)
    if not is_safe_url(issuer):
        raise ValueError("an issuer must start with https:// (http:// only for 127.0.0.1, ::1 and localhost)")
    if parts.query or parts.fragment or "?" in issuer or "#" in issuer or parts.username is not None:
        raise ValueError("an issuer must have no query, no fragment and no user")
    return issuer


def well_known_url(issuer: str, *, suffix: str = names.WELL_KNOWN_OAUTH) -> str:
    """Return the URL of the metadata: the suffix goes between host and path (RFC 8414 section 3.1)."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{suffix}{parts.path.rstrip('/')}"


def openid_url(issuer: str) -> str:
    """Return the URL of OpenID Connect Discovery 1.0 section 4.1: the suffix goes to the end."""
    return issuer.rstrip("/") + names.WELL_KNOWN_OPENID


def _slash(found: object, issuer: str) -> str:
    """Return what differs, where that is easily missed."""
    if not isinstance(found, str) or found.rstrip("/") != issuer.rstrip("/"):
        return ""
    return f", {'with' if found.endswith('/') else 'without'} the slash at the end"


def parse(body: bytes, *, issuer: str) -> Metadata:
    """Read metadata; raise ValueError if they are of another issuer (RFC 8414 section 3.3)."""
    try:
        members = parse_object(body)
    except ValueError as error:
        raise ValueError(f"the metadata are not a JSON object: {error}") from None
    if members.get("issuer") != issuer:
        raise ValueError(
            f"the metadata are of another issuer: {str(members.get('issuer'))[:200]!r}. If that is the server that you"
            f" mean, name it exactly so{_slash(members.get('issuer'), issuer)}; an address where it is reached is for"
            " reach="
        )
    found = {name: members[name] for name in ("token_endpoint", "jwks_uri", "revocations_uri") if name in members}
    for name, url in found.items():
        if not isinstance(url, str) or not is_safe_url(url):
            raise ValueError(f"{name} must be an https URL (http only on loopback)")
    return Metadata(issuer, found.get("token_endpoint"), found.get("jwks_uri"), members, found.get("revocations_uri"))


def urls(issuer: str) -> tuple[str, str]:
    """Return where the metadata of this issuer may be: at the second URL if the first one answers ELSEWHERE."""
    return well_known_url(issuer), openid_url(issuer)


def parse_response(status: int, body: bytes, *, url: str, issuer: str) -> Metadata:
    """Read the response of one of `urls`; raise RemoteError if it has no metadata of this issuer."""
    if status == TOO_MANY or status in _SERVER_ERRORS:
        raise RemoteError(f"{url} answered {status}: the server is not available now, try again later")
    if status != OK:
        raise RemoteError(f"{url} answered {status}: is {issuer} the right issuer?")
    try:
        return parse(body, issuer=issuer)
    except ValueError as error:
        raise RemoteError(f"{url}: {error}") from None
