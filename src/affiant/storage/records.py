"""Clients, APIs and keys, as values. Instants are epoch seconds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from affiant.errors import Error
from affiant.system.values import Value


class AlreadyExists(Error):
    """The name is taken."""


class NotFound(Error):
    """The name is not registered."""


RESTORED_AT = "restored_at"  # the setting with the time of the last restore
BACKED_UP_AT = "backed_up_at"  # the setting with the time of the last backup


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A client secret: a keyed digest to compare with, or sealed for methods that need the secret itself."""

    digest: bytes | None = field(repr=False)
    sealed: bytes | None = field(repr=False)
    created_at: int
    expires_at: int | None
    id: str = ""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A public key of a client; server/registry/credentials/keys.py says what it may do when."""

    kid: str
    jwk: str  # the public JWK, as JSON text
    created_at: int
    not_before: int = 0
    expires_at: int | None = None
    proved_at: int | None = None  # registration by an operator, or the first signature under a key that a client added
    retiring_at: int | None = None  # a successor exists since then; the key is valid until `revoked_at`
    revoked_at: int | None = None  # invalid from then on. Its tokens end too only if there is a Revocation
    # operator, registration (RFC 7591), client, or jwks_uri: fetched, of which only the revocation is kept.
    source: str = "operator"


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client; its fields have the names of RFC 7591 section 2 if that has them."""

    client_id: str
    token_endpoint_auth_method: str
    token_endpoint_auth_signing_alg: str | None = None
    keys: tuple[ClientKey, ...] = ()  # in the order of registration; revoked ones stay, so that they never return
    jwks_uri: str | None = None
    secrets: tuple[StoredSecret, ...] = ()
    grant_types: tuple[str, ...] = ("client_credentials",)
    scope: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()  # API identifiers that it may ask for; empty: the default API only
    profile: str | None = None
    audience_policy: str = "strict"
    typ_policy: str = "strict"
    lifetime_policy: str = "strict"
    jti_policy: str = "strict"
    subject_policy: str = "strict"
    observe: tuple[str, ...] = ()  # rules (of assertion.RULES) whose breaches are recorded but accepted
    access_token_lifetime: int | None = None  # seconds; None for the server's setting
    introspects: tuple[str, ...] = ()  # identifiers of the APIs whose tokens it may introspect
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    tls_subject: tuple[str, str] | None = None  # the one metadata member of RFC 8705 section 2.1.2, and its value
    authorization_details_types: tuple[str, ...] = ()
    client_name: str | None = None
    metadata: str | None = None  # as it registered itself: JSON text of one object
    registration_token: bytes | None = field(default=None, repr=False)  # keyed digest (RFC 7592 section 3)
    registered_by: str | None = None  # id of the initial access token
    registration_scope: tuple[str, ...] = ()  # that it may register itself for, and the next two
    registration_types: tuple[str, ...] = ()
    registration_grants: tuple[str, ...] | None = None  # None for any
    kind: str = "service"  # one of names.CLIENT_KINDS
    owner: str | None = None  # the person or team that answers for it
    blueprint: str | None = None  # the client whose keys or secrets it authenticates with
    # Clients that may exchange its tokens for others (RFC 8693); None: any that is an audience of the token.
    delegates_to: tuple[str, ...] | None = None
    team: str | None = None  # the team that owns it
    contact: str | None = None  # whom to ask
    labels: tuple[str, ...] = ()
    administers: tuple[str, ...] = ()  # teams, as a caller of the admin API; empty: all
    token_budget: int | None = None  # access tokens per clock hour (UTC); None: no budget
    budget: str = "observe"  # or enforce
    enabled: bool = True
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Api:
    """A protected API (a resource server), by its identifier (RFC 8707)."""

    identifier: str
    name: str
    scopes: tuple[str, ...]
    is_default: bool
    created_at: int
    signing_alg: str | None = None  # of its tokens; None for the server's choice
    authorization_details_types: tuple[str, ...] = ()  # that it understands (RFC 9396)
    access_token_lifetime: int | None = None  # seconds, at most; None for the server's setting
    access_token_typ: str = "at+jwt"  # noqa: S105 - a media type, one of names.ACCESS_TOKEN_TYPES
    team: str | None = None
    contact: str | None = None
    labels: tuple[str, ...] = ()


class ClaimCondition(NamedTuple):
    """A claim must have one of these values; oauth/federation/conditions.py compares."""

    claim: str  # its name, or a JSON Pointer
    values: tuple[str | bool | int, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """An issuer whose tokens identify workloads, such as a CI platform or a cluster (RFC 7523 section 3)."""

    name: str
    issuer: str  # the iss of its tokens; a SPIFFE trust domain is written as spiffe://DOMAIN
    preset: str = "generic"
    # Its keys come from one place: jwks, else jwks_uri, else the metadata at discovery_url or else below the issuer.
    discovery_url: str | None = None
    jwks_uri: str | None = None  # the URL of its key set; for a SPIFFE trust domain, its bundle endpoint
    jwks: str | None = None  # an uploaded JWK Set, as JSON text
    jwks_at: int | None = None  # when the set was uploaded
    ca: str | None = None  # PEM certificates, the only ones that vouch for the host of its keys
    audiences: tuple[str, ...] = ()  # empty: the issuer identifier and the token endpoint of this server
    several_audiences: bool = False
    algorithms: tuple[str, ...] = ()  # empty: every algorithm of its keys
    max_lifetime: int = 3600  # seconds from iat to exp
    replay: str = "once"  # one of trusted_token.REPLAYS
    refuses: tuple[ClaimCondition, ...] = ()  # a token that meets one of these gets nothing, whatever the rules say
    team: str | None = None
    contact: str | None = None
    labels: tuple[str, ...] = ()
    enabled: bool = True
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions on the tokens of a trust, the client that such tokens speak for, and the most that they give."""

    name: str
    trust: str
    client_id: str
    conditions: tuple[ClaimCondition, ...] = ()
    resources: tuple[str, ...] = ()  # empty: all of the client's
    scope: tuple[str, ...] = ()  # empty: all of the client's
    access_token_lifetime: int | None = None  # seconds, at most
    copied_claims: tuple[str, ...] = ()  # the only claims that go into the `src` of the access token
    names_only: bool = False  # whether it may rest on names that another tenant could take over
    enabled: bool = True
    created_at: int = 0

    @property
    def path(self) -> str:
        """The name of the rule in tokens and records: TRUST/RULE."""
        return f"{self.trust}/{self.name}"


@dataclass(frozen=True, slots=True)
class Team:
    """Owns clients, APIs and trusts. Its operators may grant the scopes of its own APIs, and `scope` at `resources`."""

    name: str
    contact: str | None = None  # whom to ask
    resources: tuple[str, ...] = ()  # identifiers of other APIs
    scope: tuple[str, ...] = ()
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class InitialAccessToken:
    """A token with which clients register themselves (RFC 7591 section 3), by the keyed digest of its text."""

    id: str  # not secret
    digest: bytes = field(repr=False)
    scope: tuple[str, ...]  # that a client may register for
    resources: tuple[str, ...]  # the same; empty for the default API only
    created_at: int
    expires_at: int
    uses: int  # registrations that are left
    authorization_details_types: tuple[str, ...] = ()  # that a client may register for (RFC 9396 section 10)
    team: str | None = None  # of the clients that register with it


@dataclass(frozen=True, slots=True)
class User:
    """A person who uses the console."""

    name: str
    role: str  # one of roles.Role
    teams: tuple[str, ...] = ()  # whose clients, APIs and trusts it sees and changes; empty: all
    handle: str = ""  # by which its passkeys name it (WebAuthn section 5.4.3): random, and never used again
    enabled: bool = True
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Passkey:
    """A discoverable WebAuthn credential of a user."""

    id: str  # the credential id, in base64url
    username: str
    public_key: bytes  # a COSE key
    sign_count: int  # 0 as long as the authenticator does not count
    label: str
    created_at: int
    last_used_at: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which a user is signed in."""

    id: str  # keyed digest of the cookie, in hexadecimal
    username: str
    created_at: int
    last_at: int  # of the last request; up to some minutes late
    expires_at: int
    address: str
    agent: str  # the User-Agent of the sign-in
    passkey: str | None = None  # id of the passkey that began it; None for a link


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A link with which a user signs in once."""

    id: str  # keyed digest of its token, in hexadecimal
    username: str
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class UsedChallenge:
    """A WebAuthn challenge that was answered, kept until it expires so that no answer counts twice."""

    id: str
    expires_at: int


class KeyUse(Value, frozen=True):
    """How often a client authenticated with a credential: a key's thumbprint, or the id of a secret."""

    client_id: str
    credential: str
    count: int
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs access tokens; server/keys/calendar.py says what it may do when."""

    kid: str
    alg: str
    public_jwk: str
    sealed: bytes = field(repr=False)  # the private part; empty once the key is removed for good
    created_at: int  # published from then on
    active_at: int = 0  # signs from then on; 0 in rows of older versions: since created_at
    retiring_at: int | None = None  # its successor signs from then on
    removed_at: int | None = None  # no token under it is valid from then on
    line: str = ""  # the algorithm whose APIs it signs for, each with a calendar of its own; empty: all other APIs
    kms: str = ""  # the name of a key that an operator made in a KMS; empty: the server made it


def spent(token: InitialAccessToken | None, id: str) -> InitialAccessToken:  # noqa: A002 - its name
    """The token with one use fewer, or NotFound if none is left."""
    if token is None or token.uses < 1:
        raise NotFound(f"the initial access token {id} is used up")
    return replace(token, uses=token.uses - 1)
