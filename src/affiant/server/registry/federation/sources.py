"""Fetch the key set of a trust: from its `jwks_uri`, or by the metadata of its issuer (RFC 8414, OpenID Discovery)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.oauth import metadata
from affiant.oauth.federation import spiffe_id
from affiant.oauth.parameters import jwks_uri
from affiant.server.registry import key_cache
from affiant.server.registry.key_cache import Fetch, Loaded
from affiant.storage.records import Trust


@dataclass(frozen=True, slots=True)
class Issued:
    """The source of a trust's key set, unless it was uploaded."""

    trust: Trust

    @property
    def owner(self) -> str:
        return f"trust {self.trust.name}"

    @property
    def place(self) -> Hashable:
        trust = self.trust
        return trust.issuer, trust.discovery_url, trust.jwks_uri, trust.ca

    async def load(self, fetch: Fetch) -> Loaded[KeySet]:
        uri = self.trust.jwks_uri or await self._discover(fetch)
        fetched = await fetch(uri, ca=self.trust.ca)
        is_bundle = spiffe_id.is_domain(self.trust.issuer)
        found = await key_cache.read(fetched.body, self.owner, is_bundle=is_bundle)
        return Loaded(found, found, uri, fetched.max_age)

    async def _discover(self, fetch: Fetch) -> str:
        """Return the jwks_uri in the metadata of today: an issuer may move its keys."""
        places = find_metadata(self.trust)
        if not places:
            raise Rejected(Reason.JWKS_UNAVAILABLE, detail="the trust does not say where its keys are: set jwks_uri")
        for url, then in zip(places, (*places[1:], None), strict=True):
            try:
                fetched = await fetch(url, ca=self.trust.ca)
            except Rejected as refusal:
                if then is None or refusal.reason is not Reason.JWKS_STATUS:
                    raise
            else:
                return self._read(fetched.body, url)
        raise Rejected(Reason.JWKS_STATUS)  # pragma: no cover - the last place has raised

    def _read(self, body: bytes, url: str) -> str:
        """Return the jwks_uri of these metadata."""
        try:
            members = parse_object(body)
        except ValueError as error:
            raise _malformed(url, key_cache.plain(error)) from None
        # Attack: mix-up (RFC 8414 section 6.2). The metadata of another issuer would give its keys to this trust.
        found = members.get("issuer")
        if found != self.trust.issuer:
            got = found[:256] if isinstance(found, str) else "no text"
            raise Rejected(Reason.JWKS_MALFORMED, expected=f"issuer {self.trust.issuer}", got=got, detail=_host(url))
        return _uri(members, url)


def find_metadata(trust: Trust) -> tuple[str, ...]:
    """Return the URLs at which the metadata of its issuer may be, in order; none if they cannot be derived."""
    if trust.discovery_url is not None:
        return (trust.discovery_url,)
    issuer = trust.issuer
    try:
        jwks_uri.parse(issuer)
    except ValueError:
        return ()
    return () if "?" in issuer else (metadata.openid_url(issuer), metadata.well_known_url(issuer))


def _uri(members: dict[str, Any], url: str) -> str:
    uri = members.get("jwks_uri")
    try:
        return jwks_uri.parse(uri if isinstance(uri, str) else "")
    except ValueError as error:
        raise _malformed(url, f"the metadata name no jwks_uri that can be fetched: {error}") from None


def _malformed(url: str, why: str) -> Rejected:
    return Rejected(Reason.JWKS_MALFORMED, expected="metadata of the issuer", detail=f"{_host(url)}: {why}")


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
