"""The metadata that an API publishes, so that a client finds its authorization server (RFC 9728)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from affiant.errors import ConfigError
from affiant.oauth import bearer, names
from affiant.oauth.metadata import well_known_url
from affiant.oauth.resource_request import Rules

MAX_AGE = 300  # seconds that a copy may be cached
METHODS = ("GET", "HEAD", "OPTIONS")
_METHODS = ", ".join(METHODS).encode()
# The document is public, so pages of any origin may read it. MCP-Protocol-Version causes a preflight.
_ANY_ORIGIN = [(b"access-control-allow-origin", b"*"), (b"x-content-type-options", b"nosniff")]
_PREFLIGHT = [
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", b"MCP-Protocol-Version, *"),
    (b"access-control-max-age", b"86400"),
]


@dataclass(frozen=True, slots=True)
class ResourceMetadata:
    """The metadata of an API, besides its identifier and its issuer (RFC 9728 section 2).

    Attributes:
        scopes: the scopes that it knows.
        name: its name for people.
        documentation: the URL of a page for developers of clients.
    """

    scopes: tuple[str, ...] = ()
    name: str | None = None
    documentation: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The document and its place."""

    url: str  # for the challenge of a refusal (section 5.1)
    path: str  # of that URL
    body: bytes

    def answer(self, method: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers in the form of ASGI, and body of the response to a request for the document."""
        if method == "OPTIONS":
            return 204, [*_ANY_ORIGIN, *_PREFLIGHT], b""
        if method not in ("GET", "HEAD"):
            return 405, [*_ANY_ORIGIN, (b"allow", _METHODS), (b"content-length", b"0")], b""
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"public, max-age=%d" % MAX_AGE),
        ]
        return 200, [*_ANY_ORIGIN, *headers], self.body if method == "GET" else b""

    def answer_text(self, method: str) -> tuple[int, dict[str, str], bytes]:
        """Return the same response with its headers as text."""
        status, headers, body = self.answer(method)
        return status, {name.decode("latin-1").title(): value.decode("latin-1") for name, value in headers}, body


def publish(metadata: ResourceMetadata, rules: Rules) -> Published:
    """Return the document of an API; its identifier must be a URL, or clients could not find it."""
    parts = urlsplit(rules.audience)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"an API publishes metadata only where its identifier is a URL without a query: {rules.audience!r}"
        )
    url = well_known_url(rules.audience, suffix=names.WELL_KNOWN_RESOURCE)
    body = json.dumps(_document(metadata, rules), separators=(",", ":")).encode()
    return Published(url, urlsplit(url).path, body)


def _document(metadata: ResourceMetadata, rules: Rules) -> dict[str, Any]:
    members = {
        "resource": rules.audience,
        "authorization_servers": list(rules.issuers),
        "scopes_supported": list(metadata.scopes),
        "bearer_methods_supported": ["header"],
        "resource_name": metadata.name,
        "resource_documentation": metadata.documentation,
        "dpop_signing_alg_values_supported": list(rules.proof_algorithms),
        "dpop_bound_access_tokens_required": bearer.BEARER not in rules.schemes or None,
    }
    # Section 3.2: a member without elements is omitted.
    return {name: value for name, value in members.items() if value not in (None, [])}
