"""Issuers with real keys. PyJWT signs what they issue, so that affiant does not vouch for itself."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.platforms.token import Token

from affiant.testing.clock import NOW

_RSA_KEYS = 3  # for all issuers: one of 2048 bits, which most platforms have, costs a tenth of a second
_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def _rsa_key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Key:
    """A private key, and what its JWK says."""

    kid: str
    alg: str
    private: Private = field(repr=False)

    @property
    def public_jwk(self) -> dict[str, Any]:
        public: Any = self.private.public_key()
        of_kind: Any = RSAAlgorithm if self.alg.startswith("RS") else ECAlgorithm
        members: dict[str, Any] = of_kind.to_jwk(public, as_dict=True)
        return {**members, "kid": self.kid, "alg": self.alg, "use": "sig"}


@cache
def key(issuer: str, alg: str, generation: int = 1) -> Key:
    """The key of this issuer, the same in every test. A later generation is another key."""
    number = zlib.crc32(issuer.encode())
    kid = f"{number:08x}-{alg}-{generation}"
    if alg in _CURVES:
        return Key(kid, alg, ec.generate_private_key(_CURVES[alg]()))
    return Key(kid, alg, _rsa_key(number % _RSA_KEYS if generation == 1 else _RSA_KEYS + generation))


@cache
def stranger(alg: str = "RS256") -> Key:
    """A key that no issuer has."""
    return key("https://mallory.example", alg, 0)


@dataclass
class Issuer:
    """One platform, or one tenant of it that has its own keys.

    Attributes:
        url: its identifier.
        keys_at: where its JWK Set is.
        keys: the published ones; the last one of an algorithm signs.
    """

    url: str
    keys_at: str
    keys: list[Key]
    _generation: int = field(default=1, init=False, repr=False)

    @classmethod
    def of(cls, *tokens: Token) -> "Issuer":
        """The issuer of these tokens, with a key for each of their algorithms."""
        first = tokens[0]
        assert {token.issuer for token in tokens} == {first.issuer}
        return cls(first.issuer, first.keys_at, [key(first.issuer, alg) for alg in sorted({t.alg for t in tokens})])

    def sign(self, token: Token, now: float = NOW, *, by: Key | None = None, **header: Any) -> str:
        """A token that is issued now, as text. A member of the header that is None is left out."""
        return self.sign_claims(token.issued(now), by=by or self._signing(token.alg), **{"typ": token.typ, **header})

    def sign_claims(self, claims: Mapping[str, Any] | bytes, *, by: Key | None = None, **header: Any) -> str:
        """The same for claims of any kind, or for bytes that are no claims at all."""
        used = by or self.keys[-1]
        payload = claims if isinstance(claims, bytes) else json.dumps(claims, separators=(",", ":")).encode()
        members = {name: value for name, value in {"kid": used.kid, **header}.items() if value is not None}
        # PyJWT writes `typ` unless that is empty.
        return jwt.api_jws.encode(payload, used.private, used.alg, {"typ": "", **members})

    def rotate(self, alg: str = "RS256", *, keep: bool = True) -> Key:
        """Sign with a new key from now on; the old ones stay published for a while, or go at once."""
        self._generation += 1
        new = key(self.url, alg, self._generation)
        self.keys = [*(self.keys if keep else [one for one in self.keys if one.alg != alg]), new]
        return new

    @property
    def jwks(self) -> dict[str, Any]:
        """The JWK Set; of a trust domain its bundle (SPIFFE Trust Domain and Bundle section 4)."""
        if self.url.startswith("spiffe://"):
            keys = [{**one.public_jwk, "use": "jwt-svid"} for one in self.keys]
            return {"keys": keys, "spiffe_sequence": 1, "spiffe_refresh_hint": 300}
        # Entra publishes no alg, as is known from its sets; the signature has to fit the key.
        is_entra = self.keys_at.startswith("https://login.microsoftonline.com/")
        hidden = {"alg"} if is_entra else set()
        return {"keys": [{n: v for n, v in one.public_jwk.items() if n not in hidden} for one in self.keys]}

    @property
    def discovery_url(self) -> str:
        """OpenID Connect Discovery 1.0 section 4: behind the whole identifier, without its last slash."""
        return f"{self.url.removesuffix('/')}/.well-known/openid-configuration"

    @property
    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": self.keys_at,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({one.alg for one in self.keys}),
        }

    @property
    def documents(self) -> dict[str, dict[str, Any]]:
        """What it publishes, by URL."""
        found = {self.keys_at: self.jwks}
        return {**found, self.discovery_url: self.discovery} if self.url.startswith("https://") else found

    def _signing(self, alg: str) -> Key:
        return [one for one in self.keys if one.alg == alg][-1]


def signed(token: Token, now: float = NOW, **header: Any) -> str:
    """A token of the issuer that it names, as text."""
    return Issuer.of(token).sign(token, now, **header)
