"""The access tokens of a fake issuer, and the headers of requests with them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from affiant.jose import compact
from affiant.jose.keys import PrivateKey
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.testing import messages
from affiant.testing.clock import Clock
from affiant.testing.messages import KEY
from affiant.testing.published import Published

LIFETIME = 600  # seconds
_LONG_AGO = 60  # seconds since the end of an expired one: more than any usual leeway


class Tokens:
    """Makes tokens of an issuer for an audience.

    Attributes:
        issuer: its identifier.
        audience: of tokens that name no other.
        clock: its time, and that of the guards.
    """

    def __init__(self, issuer: str, audience: str, clock: Clock) -> None:
        self.issuer: str = issuer
        self.audience: str = audience
        self.clock: Clock = clock
        self._published = Published(clock)

    def token(
        self,
        scope: str = "",
        *,
        client_id: str = "client",
        key: Signer | None = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return an access token that lives ten minutes (RFC 9068 section 2.2), with any part changed.

        Args:
            scope: what it grants, separated by spaces.
            client_id: the client; `sub` is the same.
            key: signs in place of the issuer's own key.
            header: members of the header to set instead, such as `typ`; ABSENT leaves one out.
            claims: claims to set instead, such as `aud`, `exp` and `cnf`; ABSENT leaves one out.
        """
        members = self._claims(scope, client_id, claims)
        headers = messages.changed({"typ": names.ACCESS_TOKEN_TYP}, header or {})
        text = compact.sign(headers, members, key or self._published.keys[-1])
        self._published.minted[text] = members
        return text

    def opaque(self, scope: str = "", *, client_id: str = "client", **claims: Any) -> str:
        """Return a token that is no JWT, for a guard whose introspection is for opaque tokens.

        Args:
            scope: what it grants.
            client_id: the client.
            claims: members of the issuer's answer to set instead, as in `token`.
        """
        text = secrets.token_urlsafe(32)
        self._published.minted[text] = self._claims(scope, client_id, claims)
        return text

    def _claims(self, scope: str, client_id: str, claims: Mapping[str, Any]) -> dict[str, Any]:
        now = int(self.clock)
        named = {"iss": self.issuer, "sub": client_id, "client_id": client_id, "aud": self.audience}
        more = {"scope": scope or messages.ABSENT, "iat": now, "exp": now + LIFETIME, "jti": secrets.token_urlsafe(16)}
        return messages.changed({**named, **more}, claims)

    def expired(self, scope: str = "", **members: Any) -> str:
        """Return a token that has expired.

        Args:
            scope: what it grants.
            members: the other arguments of `token`.
        """
        end = int(self.clock) - _LONG_AGO
        return self.token(scope, **{"iat": end - LIFETIME, "exp": end, **members})

    def bearer(self, scope: str = "", *, token: str | None = None, **members: Any) -> dict[str, str]:
        """Return the headers of a request with a bearer token (RFC 6750 section 2.1).

        Args:
            scope: what a new token grants.
            token: this token, in place of a new one.
            members: the other arguments of `token`, for a new one.
        """
        return messages.bearer(self.token(scope, **members) if token is None else token)

    def dpop(
        self,
        method: str,
        url: str,
        scope: str = "",
        *,
        token: str | None = None,
        key: PrivateKey = KEY,
        nonce: str = messages.ABSENT,
        **members: Any,
    ) -> dict[str, str]:
        """Return the headers of a request with a token that is bound to a key, and its proof (RFC 9449 section 7.1).

        Args:
            method: of the request.
            url: of the request, as the guard knows it: with the guard's own `url=` if it has one.
            scope: what a new token grants.
            token: this token, in place of a new one.
            key: that the token is bound to, and that signs the proof.
            nonce: the last one that the API sent.
            members: the other arguments of `token`, for a new one.
        """
        text = self.token(scope, **{"cnf": {"jkt": key.public().thumbprint}, **members}) if token is None else token
        proof = messages.proof(key, method=method, url=url, now=self.clock.now, access_token=text, nonce=nonce)
        return {"authorization": f"DPoP {text}", "dpop": proof}
