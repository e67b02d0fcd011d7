"""Clients, their keys and secrets, and what lets them register themselves."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from affiant.oauth import assertion, names
from affiant.server.admin.documents.base import (
    LIFETIME,
    Document,
    In,
    Label,
    Name,
    Out,
    Seconds,
    TokenLifetime,
    Word,
    Words,
)

Rules = Annotated[list[Literal[*assertion.RULES]], Field(max_length=8)]  # type: ignore[valid-type]
SecretId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{16,64}$"),
    Field(description="its id, by which who asks recognises it when the answer is lost; a new one when left out"),
]
OwnKeys = Annotated[
    Literal["keep", "revoke"], Field(description="with jwks: whether keys that the client added itself stay")
]


class Policies(Document):
    """The policies of a client and the lifetime of its tokens; a member that is left out stays, or is the default."""

    audience_policy: Literal[*assertion.POLICIES["audience"]] | None = None  # type: ignore[valid-type]
    typ_policy: Literal[*assertion.POLICIES["typ"]] | None = None  # type: ignore[valid-type]
    lifetime_policy: Literal[*assertion.POLICIES["lifetime"]] | None = None  # type: ignore[valid-type]
    jti_policy: Literal[*assertion.POLICIES["jti"]] | None = None  # type: ignore[valid-type]
    subject_policy: Literal[*assertion.POLICIES["subject"]] | None = None  # type: ignore[valid-type]
    access_token_lifetime: TokenLifetime | None = Field(default=None, description=LIFETIME)


class CertificateName(Document):
    """For tls_client_auth, the one name that a client's certificate must have (RFC 8705 section 2.1.2)."""

    tls_client_auth_subject_dn: Name | None = None
    tls_client_auth_san_dns: Name | None = None
    tls_client_auth_san_uri: Name | None = None
    tls_client_auth_san_ip: Name | None = None
    tls_client_auth_san_email: Name | None = None

    @model_validator(mode="after")
    def check_one(self) -> Self:
        """Reject several names: RFC 8705 section 2.1.2 allows exactly one."""
        if len(self._given()) > 1:
            raise ValueError(f"give one of {' and '.join(name for name, _ in self._given())}")
        return self

    @property
    def tls_subject(self) -> tuple[str, str] | None:
        """The member that was given, and its value."""
        return next(iter(self._given()), None)

    def _given(self) -> list[tuple[str, str]]:
        members = [(name, getattr(self, name)) for name in CertificateName.model_fields]
        return [(name, value) for name, value in members if value is not None]


class ClientKey(Out):
    """A public key of a client: what it is, and what it may do; its thumbprint is that of RFC 7638."""

    kid: str | None
    kty: str | None
    crv: str | None = None
    alg: str | None = None
    state: str
    thumbprint: str
    source: str
    created_at: int
    not_before: int | None = None
    expires_at: int | None = None


class ClientSecret(Out):
    """That a client has a secret, and until when; never the secret."""

    id: str
    created_at: int
    expires_at: int | None


class Client(CertificateName, Out):
    """A client, with the names of RFC 7591 section 2 where that has them."""

    client_id: str
    client_name: str | None
    token_endpoint_auth_method: str
    token_endpoint_auth_signing_alg: str | None
    grant_types: list[str]
    scope: list[str]
    resources: list[str]
    introspects: list[str]
    dpop_bound_access_tokens: bool
    tls_client_certificate_bound_access_tokens: bool
    authorization_details_types: list[str]
    profile: str | None
    audience_policy: str
    typ_policy: str
    lifetime_policy: str
    jti_policy: str
    subject_policy: str
    observe: list[str]
    access_token_lifetime: int | None
    jwks_uri: str | None
    registered_itself: bool
    enabled: bool
    created_at: int
    keys: list[ClientKey]
    secrets: list[ClientSecret]


class UsedClient(Client):
    """A client, and how it is used. That is no part of what is registered, and does not change the document's tag."""

    uses: int | None = Field(default=None, description="how often it authenticated, with all keys and secrets")
    last_used_at: int | None = None


class ChangedClient(Client):
    """A client that was just registered or changed."""

    jwks_left_out: list[str] = Field(default=[], description="members of jwks that are not registered, and why")


class RegisteredClient(ChangedClient):
    """A client that was just registered: its secret, if it has one, is shown this once."""

    client_secret: str | None = None


class ClientNew(Policies, CertificateName, In):
    """A client to be registered."""

    client_id: Name
    client_name: Label | None = None
    token_endpoint_auth_method: Word = names.PRIVATE_KEY_JWT
    token_endpoint_auth_signing_alg: Word | None = None
    client_secret_id: SecretId | None = None
    jwks: dict[str, Any] | None = Field(default=None, description="public keys, for private_key_jwt")
    scope: Words = Field(default=[])
    resources: Words = Field(default=[])
    grant_types: Words = Field(default=[])
    introspects: Words = Field(default=[])
    profile: Word | None = None
    dpop_bound_access_tokens: bool = False
    jwks_uri: Word | None = None
    tls_client_certificate_bound_access_tokens: bool = False
    authorization_details_types: Words = Field(default=[])
    observe: Rules = Field(default=[])


class ClientChanges(Policies, CertificateName, In):
    """Changes of a client; members that are left out stay."""

    token_endpoint_auth_method: Word | None = Field(
        default=None, description="client_secret_post for client_secret_basic, or the reverse: its secret stays"
    )
    client_name: Label | None = None
    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, all of them; others are revoked")
    own_keys: OwnKeys = "revoke"
    scope: Words | None = None
    resources: Words | None = None
    grant_types: Annotated[list[Word], Field(min_length=1, max_length=8)] | None = None
    introspects: Words | None = None
    dpop_bound_access_tokens: bool | None = None
    jwks_uri: Word | None = None
    tls_client_certificate_bound_access_tokens: bool | None = None
    authorization_details_types: Words | None = None
    profile: Word | None = None
    observe: Rules = Field(default=[])
    enforce: Rules = Field(default=[])
    enabled: bool | None = None


class HeldKey(Out):
    """A key of a client: what it may do, how it was used, and whether it can go."""

    model_config = ConfigDict(extra="allow")

    kid: str
    thumbprint: str
    jwk: dict[str, Any]
    alg: str | None
    state: str
    created_at: int
    last_used_at: int | None
    use_count: int


class KeyNew(In):
    """A client's next key, beside those that stand."""

    jwk: dict[str, Any]
    not_before: Seconds = 0


class KeyNamed(In):
    """One of a client's keys."""

    kid: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="its kid, or its thumbprint; needed where a kid names several keys, also ended ones"
    )


class KeyCompleted(KeyNamed):
    """The old key of a rotation, and for how many seconds it is still good."""

    overlap: Annotated[int, Field(ge=0, le=366 * 86_400)] = 0


class SecretNew(In):
    """A client's next secret: when the one before ends by itself, if nobody completes the rotation."""

    id: SecretId | None = None
    old_expires_at: Seconds | None = None


class SecretNamed(In):
    """One of a client's secrets."""

    id: Word


class InitialAccessToken(Out):
    """An initial access token (RFC 7591 section 3), never with its text."""

    id: str
    scope: list[str]
    resources: list[str]
    authorization_details_types: list[str]
    created_at: int
    expires_at: int
    uses: int


class IssuedInitialAccessToken(InitialAccessToken):
    """One that was just issued: its text is shown this once."""

    initial_access_token: str


class InitialAccessTokenNew(In):
    """How many clients it lets in, for what, and for how many seconds."""

    scope: Words = Field(default=[])
    resources: Words = Field(default=[])
    authorization_details_types: Words = Field(default=[])
    lifetime_seconds: Annotated[int, Field(ge=1, le=2**40)] = 86_400
    uses: Annotated[int, Field(ge=1, le=2**31)] = 1
    id: SecretId | None = None
