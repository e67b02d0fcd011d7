"""What is registered, as values. Instants are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from affiant.errors import Error
from affiant.values import Value


class AlreadyExists(Error):
    """Something of this name is registered already."""


class NotFound(Error):
    """Nothing of this name is registered."""


RESTORED_AT = "restored_at"  # the setting that says when a backup was put back, in seconds since the epoch


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A client secret: a keyed digest where it needs only to be recognised, sealed where it must be recovered."""

    digest: bytes | None = field(repr=False)
    sealed: bytes | None = field(repr=False)
    created_at: int
    expires_at: int | None
    id: str = ""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A public key of a client; what it may do at an instant, server/credentials/keys.py says.

    Attributes:
        kid: its name among the client's keys.
        jwk: the public JWK, as JSON text.
        created_at: when it was registered, and so announced.
        not_before: from when on it may be used.
        expires_at: from when on it may not be used any more; None for no end.
        proved_at: when it was known to be the client's own: what an operator registers, at once; what a client
            announces, when it first signed with it. None until then.
        retiring_at: since when its successor should be used; it is good until `revoked_at`.
        revoked_at: from when on it is good for nothing. What it obtained ends too where a Revocation says so: who
            retires a key lets its tokens live.
        source: who registered it: ``operator``, ``registration`` (RFC 7591) or ``client``; ``jwks_uri`` for one that
            was fetched, of which only its revocation is kept.
    """

    kid: str
    jwk: str
    created_at: int
    not_before: int = 0
    expires_at: int | None = None
    proved_at: int | None = None
    retiring_at: int | None = None
    revoked_at: int | None = None
    source: str = "operator"


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client; its fields have the names of RFC 7591 section 2 where that has them.

    Attributes:
        keys: its public keys, in the order of their registration; revoked ones stay, so that they never come back.
        jwks_uri: where its public keys are fetched from instead (RFC 7591 section 2).
        resources: the API identifiers that it may ask for; empty for the default API only.
        audience_policy: ``strict``, ``string`` or ``legacy`` (oauth/assertion.py says what each means, and the next).
        typ_policy: ``strict`` or ``explicit``.
        lifetime_policy: ``strict``, ``short`` or ``legacy``.
        jti_policy: ``strict`` or ``legacy``.
        subject_policy: ``strict`` or ``legacy``.
        introspects: the identifiers of the APIs that this client is, or speaks for: whose tokens it may introspect.
        dpop_bound_access_tokens: whether every token request must bring a DPoP proof (RFC 9449 section 5.2).
        observe: the rules (of assertion.RULES) with breaches that are recorded but accepted.
        access_token_lifetime: seconds; None for the setting of the server.
        tls_client_certificate_bound_access_tokens: whether every token is bound to the client's certificate (RFC 8705
            section 3.4).
        tls_subject: for tls_client_auth, the one name that its certificate must have (RFC 8705 section 2.1.2): the
            member of the metadata, such as ``tls_client_auth_san_dns``, and its value.
        authorization_details_types: the types that it may ask for (RFC 9396 section 10).
        client_name: what people call it.
        metadata: what it registered itself with (RFC 7591 section 2), as the JSON text of one object.
        registration_token: keyed digest of its registration access token (RFC 7592 section 3).
        registered_by: the id of the initial access token that let it in.
        registration_scope: the names that it may register itself for, as that token or, since, an operator said.
        registration_types: the authorization_details_types that it may register itself for, the same.
        registration_grants: the grants, once an operator has said which; None for any.
    """

    client_id: str
    token_endpoint_auth_method: str
    token_endpoint_auth_signing_alg: str | None = None
    keys: tuple[ClientKey, ...] = ()
    jwks_uri: str | None = None
    secrets: tuple[StoredSecret, ...] = ()
    grant_types: tuple[str, ...] = ("client_credentials",)
    scope: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    profile: str | None = None
    audience_policy: str = "strict"
    typ_policy: str = "strict"
    lifetime_policy: str = "strict"
    jti_policy: str = "strict"
    subject_policy: str = "strict"
    observe: tuple[str, ...] = ()
    access_token_lifetime: int | None = None
    introspects: tuple[str, ...] = ()
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    tls_subject: tuple[str, str] | None = None
    authorization_details_types: tuple[str, ...] = ()
    client_name: str | None = None
    metadata: str | None = None
    registration_token: bytes | None = field(default=None, repr=False)
    registered_by: str | None = None
    registration_scope: tuple[str, ...] = ()
    registration_types: tuple[str, ...] = ()
    registration_grants: tuple[str, ...] | None = None
    enabled: bool = True
    created_at: int = 0


class Beside(NamedTuple):
    """A second client that a change of one depends on, as it stands in the same commit.

    Attributes:
        client_id: its name.
        check: is given the client before and after the change, and the second one; None for nothing. An Error that it
            raises leaves all as it was.
    """

    client_id: str
    check: Callable[[Client, Client | None, Client | None], None]


@dataclass(frozen=True, slots=True)
class Api:
    """A protected API (a resource server), by its identifier (RFC 8707).

    Attributes:
        signing_alg: what its tokens are signed with, where that is not the server's own choice.
        authorization_details_types: the types that it understands (RFC 9396).
        access_token_lifetime: seconds that a token for it lives at most; None for the setting of the server.
        access_token_typ: of the header of its tokens, one of names.ACCESS_TOKEN_TYPES.
    """

    identifier: str
    name: str
    scopes: tuple[str, ...]
    is_default: bool
    created_at: int
    signing_alg: str | None = None
    authorization_details_types: tuple[str, ...] = ()
    access_token_lifetime: int | None = None
    access_token_typ: str = "at+jwt"  # noqa: S105 - a media type


@dataclass(frozen=True, slots=True)
class InitialAccessToken:
    """What lets a client register itself (RFC 7591 section 3), by the keyed digest of its text.

    Attributes:
        id: its name, which is no secret.
        scope: the names that a client may register for; empty for none.
        resources: the APIs that a client may register for; empty for the default API only.
        expires_at: when it ends.
        uses: how many clients it still lets in.
        authorization_details_types: the types that a client may register for (RFC 9396 section 10).
    """

    id: str
    digest: bytes = field(repr=False)
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    created_at: int
    expires_at: int
    uses: int
    authorization_details_types: tuple[str, ...] = ()


class KeyUse(Value, frozen=True):
    """How often a client authenticated with one of its credentials: a key's thumbprint, or the id of a secret."""

    client_id: str
    credential: str
    count: int
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs access tokens; what it may do at an instant, server/keys/calendar.py says.

    Attributes:
        sealed: the private part; empty once the key is removed for good.
        created_at: when it was made, and so announced: from then on it is published.
        active_at: from when on it may sign; 0, as in what older versions wrote: since it was made.
        retiring_at: from when on its successor signs; None while it has none.
        removed_at: from when on no token under it is good.
        line: the algorithm whose APIs it signs for; empty for all APIs that have chosen none. Each line has a calendar
            of its own.
    """

    kid: str
    alg: str
    public_jwk: str
    sealed: bytes = field(repr=False)
    created_at: int
    active_at: int = 0
    retiring_at: int | None = None
    removed_at: int | None = None
    line: str = ""


def spent(token: InitialAccessToken | None, id: str) -> InitialAccessToken:  # noqa: A002 - its name
    """The token with one use fewer; every adapter applies this one rule inside its commit."""
    if token is None or token.uses < 1:
        raise NotFound(f"the initial access token {id} is used up")
    return replace(token, uses=token.uses - 1)
