"""Servers of other makes, as their documentation describes them.

They verify with PyJWT and share no code with affiant. `rules` is what each requires; `mistakes` what it refused.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.unit.client.conftest import Answer, Foreign, Request, metadata_answer

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of a server for assertions."""

    algs: tuple[str, ...]
    longest: int  # seconds from now to exp
    audience: str = "endpoint"  # or "issuer", or the text
    typ: tuple[str | None, ...] = ("JWT",)
    is_grant: bool = False
    subject: str = "iss"  # or "any", or "named": an account of this server
    needs_jti: bool = True
    scope_in: str = "form"  # or "claim"
    scopes: tuple[str, ...] = ()  # what each begins with
    needs_dpop: bool = False
    error: str = "invalid_client"


RULES = {
    "smart": Rules(algs=("RS384", "ES384"), longest=300, scopes=("system/",)),
    "nhs": Rules(algs=("RS512",), longest=300),
    "maskinporten": Rules(
        algs=("RS256", "RS384", "RS512"), longest=120, audience="issuer", is_grant=True, subject="any",
        scope_in="claim", scopes=("",), error="invalid_grant",
    ),
    "google": Rules(
        algs=("RS256",), longest=3600, is_grant=True, subject="any", needs_jti=False,
        scope_in="claim", scopes=("https://www.googleapis.com/auth/",), error="invalid_grant",
    ),
    "salesforce": Rules(
        algs=("RS256",), longest=180, audience="https://login.salesforce.com", is_grant=True, subject="named",
        needs_jti=False, error="invalid_grant",
    ),
    "fapi": Rules(
        algs=("PS256", "ES256", "EdDSA"), longest=300, audience="issuer",
        typ=(None, "JWT", "client-authentication+jwt"), needs_dpop=True,
    ),
}  # fmt: skip


class Mistake(Exception):
    """The fault of a request."""


def check(is_right: object, what: str) -> None:
    if not is_right:
        raise Mistake(what)


@dataclass
class Imitation(Foreign):
    """A server with these rules, and one client."""

    rules: Rules
    keys: dict[str, PrivateKey]
    client_id: str = "billing"
    account: str = "robot@example.com"
    certificates: dict[str, PrivateKey] = field(default_factory=dict)
    says_why: bool = False
    has_metadata: bool = True

    def __post_init__(self) -> None:
        super().__init__()
        self.issuer = self.url
        self.mistakes: list[str] = []
        self.jtis: set[str] = set()
        if self.has_metadata:
            self.default["/.well-known/oauth-authorization-server"] = metadata_answer(self.url)

    def issue_as(self, issuer: str) -> None:
        """Take another issuer identifier."""
        self.issuer = issuer
        self.default["/.well-known/oauth-authorization-server"] = metadata_answer(
            issuer, token_endpoint=f"{self.url}/token"
        )

    @property
    def audience(self) -> str:
        return {"endpoint": f"{self.url}/token", "issuer": self.issuer}.get(self.rules.audience, self.rules.audience)

    def answer(self, request: Request) -> Answer:
        found = super().answer(request)
        if request.path != "/token":
            return found
        try:
            self.verify(request)
        except (Mistake, jwt.PyJWTError) as mistake:
            self.mistakes.append(str(mistake))
            why = {"error_description": str(mistake)} if self.says_why else {}
            return Answer(400 if self.rules.is_grant else 401, {"error": self.rules.error, **why})
        return Answer(200, {**found.members, "token_type": "DPoP" if self.rules.needs_dpop else "Bearer"})

    def verify(self, request: Request) -> None:
        check(request.headers.get("content-type") == "application/x-www-form-urlencoded", "content type")
        pairs = parse_qsl(request.body.decode(), strict_parsing=True)
        form = dict(pairs)
        check(len(form) == len(pairs), "a parameter is there twice")
        check("client_secret" not in form and "authorization" not in request.headers, "secret")
        if self.rules.is_grant:
            check(form.get("grant_type") == JWT_BEARER, "grant_type")
            text = form.get("assertion", "")
        else:
            check(form.get("grant_type") == "client_credentials", "grant_type")
            check(form.get("client_assertion_type") == ASSERTION_TYPE, "client_assertion_type")
            text = form.get("client_assertion", "")
        claims = self.verify_assertion(text)
        self.verify_scope(form, claims)
        check(not self.rules.needs_dpop or jwt.get_unverified_header(request.headers.get("dpop", "")), "dpop")

    def verify_assertion(self, text: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(text)
        check(header["alg"] in self.rules.algs, "alg")
        check(header.get("typ") in self.rules.typ, "typ")
        claims: dict[str, Any] = jwt.decode(
            text, self.find_key(header).public_key(), algorithms=[header["alg"]], options={"verify_aud": False}
        )
        now = time.time()
        check(claims.get("iss") == self.client_id, "iss")
        self.verify_subject(claims)
        check(claims.get("aud") == self.audience, "aud")  # a string, and no other spelling
        check(isinstance(claims.get("exp"), int) and now < claims["exp"] <= now + self.rules.longest, "exp")
        check(isinstance(claims.get("iat"), int) and now - 300 < claims["iat"] < now + 60, "iat")
        check(claims["exp"] - claims["iat"] <= self.rules.longest, "exp")
        check(isinstance(claims.get("jti"), str) or not self.rules.needs_jti, "jti")
        check(claims.get("jti") not in self.jtis or not self.rules.needs_jti, "jti is used")
        self.jtis.add(claims.get("jti", ""))
        return claims

    def find_key(self, header: dict[str, Any]) -> PrivateKey:
        if "x5c" in header:
            check("kid" not in header, "x5c and kid")
            check(header["x5c"][0] in self.certificates, "x5c")
            return self.certificates[header["x5c"][0]]
        check(header.get("kid") in self.keys, "kid")
        return self.keys[header["kid"]]

    def verify_subject(self, claims: dict[str, Any]) -> None:
        sub = claims.get("sub")
        wanted: dict[str, Callable[[], bool]] = {
            "iss": lambda: sub == claims["iss"],
            "named": lambda: sub == self.account,
            "any": lambda: sub in (None, self.account),
        }
        check(wanted[self.rules.subject](), "sub")

    def verify_scope(self, form: dict[str, str], claims: dict[str, Any]) -> None:
        found = claims.get("scope") if self.rules.scope_in == "claim" else form.get("scope")
        check(self.rules.scope_in == "form" or "scope" not in form, "scope in the form")
        if self.rules.scopes:
            check(isinstance(found, str) and found, "scope")
            check(all(scope.startswith(self.rules.scopes) for scope in str(found).split()), "scope")
