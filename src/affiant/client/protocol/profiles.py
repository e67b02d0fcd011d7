"""The rules of some fields for assertions: one row for each `Service(profile=...)`."""

from __future__ import annotations

from dataclasses import dataclass

from affiant.errors import LocalError
from affiant.oauth import names

TOKEN_ENDPOINT, FALLBACK = "token_endpoint", "fallback"  # audiences that the metadata, or an attempt, decide
CLIENT, OPTIONAL, REQUIRED = "client", "optional", "required"
_RSA = ("RS256", "RS384", "RS512")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The rules of one field, or of one server."""

    name: str = ""
    algs: tuple[str, ...] = ()  # in the order of preference; empty for all
    audience: str | None = None  # TOKEN_ENDPOINT, FALLBACK or the text of `aud`; None is the issuer
    lifetime: int = 60  # seconds, if the caller names none
    longest: int = 3600
    typ: str = names.CLIENT_ASSERTION_TYP
    grant: str = names.CLIENT_CREDENTIALS
    subject: str = CLIENT  # `sub` is the client_id, or may be left out, or is an account that the caller names
    inside: tuple[str, ...] = ()  # parameters that become claims of the assertion
    key_named_by: tuple[str, ...] = ()  # members of the header, of which one is needed
    needs_scope: bool = False
    needs_binding: bool = False  # the tokens, to a DPoP key or a certificate
    needs_metadata: bool = False


GENERAL = Profile()
# The lifetimes are below the longest ones, for a clock that is a little ahead of the server's.
PROFILES = {
    row.name: row
    for row in (
        # HL7 SMART App Launch, "Backend Services" and "Client Authentication: Asymmetric"
        Profile(
            name="smart",
            algs=("ES384", "RS384"),
            audience=TOKEN_ENDPOINT,
            lifetime=240,
            longest=300,
            typ="JWT",
            key_named_by=("kid",),
            needs_scope=True,
        ),
        # NHS England, "Application-restricted RESTful APIs: signed JWT authentication"
        Profile(
            name="nhs",
            algs=("RS512",),
            audience=TOKEN_ENDPOINT,
            lifetime=240,
            longest=300,
            typ="JWT",
            key_named_by=("kid",),
        ),
        # The guide of Digdir to consuming an API with Maskinporten
        Profile(
            name="maskinporten",
            algs=_RSA,
            lifetime=100,
            longest=120,
            typ="JWT",
            grant=names.JWT_BEARER,
            subject=OPTIONAL,
            inside=("scope", "resource"),
            key_named_by=("kid", "x5c"),
            needs_scope=True,
        ),
        # OpenID FAPI 2.0 Security Profile, sections 5.3.3.1 and 5.4.1
        Profile(
            name="fapi",
            algs=("PS256", "ES256", "Ed25519", "EdDSA"),
            longest=300,
            needs_binding=True,
            needs_metadata=True,
        ),
        # Google, "Using OAuth 2.0 for Server to Server Applications"
        Profile(
            name="google",
            algs=("RS256", "ES256"),
            audience=TOKEN_ENDPOINT,
            lifetime=600,
            typ="JWT",
            grant=names.JWT_BEARER,
            subject=OPTIONAL,
            inside=("scope",),
            needs_scope=True,
        ),
        # Salesforce, "OAuth 2.0 JWT Bearer Flow for Server-to-Server Integration"
        Profile(
            name="salesforce",
            algs=("RS256",),
            audience="https://login.salesforce.com",
            lifetime=120,
            longest=180,
            typ="JWT",
            grant=names.JWT_BEARER,
            subject=REQUIRED,
        ),
    )
}  # fmt: skip


def find(name: str | None) -> Profile:
    """Return the rules of this name, or those without any."""
    if name is None:
        return GENERAL
    if name not in PROFILES:
        raise LocalError(f"profile={name!r} is not known: one of {', '.join(PROFILES)}")
    return PROFILES[name]
