"""What goes in and out: the documents of the admin API, and how records become them. No secret has a place in any."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from affiant.oauth import assertion, names

# Of people's names: no control character, which a terminal would obey and PostgreSQL does not store.
LABEL, WORD = r"^[^\x00-\x1f\x7f-\x9f]+$", r"^[!-~]+$"
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=LABEL)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=WORD)]
Words = Annotated[list[Word], Field(max_length=64)]
Seconds = Annotated[int, Field(ge=0, le=10**11, description="seconds since 1970")]
Rules = Annotated[list[Literal[*assertion.RULES]], Field(max_length=8)]  # type: ignore[valid-type]
Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=LABEL)]


class Out(BaseModel):
    """What is answered."""

    model_config = ConfigDict(defer_build=True)  # one process needs few of them


class In(BaseModel):
    """What is sent: a member that nobody knows is a mistake, and refused."""

    model_config = ConfigDict(extra="forbid")


class CertificateName(BaseModel):
    """For tls_client_auth, the one name that a client's certificate must have (RFC 8705 section 2.1.2)."""

    tls_client_auth_subject_dn: Name | None = None
    tls_client_auth_san_dns: Name | None = None
    tls_client_auth_san_uri: Name | None = None
    tls_client_auth_san_ip: Name | None = None
    tls_client_auth_san_email: Name | None = None

    @property
    def tls_subject(self) -> tuple[str, str] | None:
        """The member that was given, and its value; of several the first, of which there should be one."""
        given = ((name, getattr(self, name)) for name in CertificateName.model_fields)
        return next((named for named in given if named[1] is not None), None)


class Problem(Out):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    trace_id: str


class ClientKey(Out):
    """A public key of a client: what it is, and what it may do; its thumbprint is that of RFC 7638."""

    kid: str | None
    kty: str | None
    crv: str | None = None
    alg: str | None = None
    state: str
    thumbprint: str
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
    observe: list[str]
    jwks_uri: str | None
    registered_itself: bool
    enabled: bool
    created_at: int
    keys: list[ClientKey]
    secrets: list[ClientSecret]


class RegisteredClient(Client):
    """A client that was just registered: its secret, if it has one, is shown this once."""

    client_secret: str | None = None


class ClientNew(CertificateName, In):
    """A client to be registered."""

    client_id: Name
    client_name: Label | None = None
    token_endpoint_auth_method: Word = names.PRIVATE_KEY_JWT
    token_endpoint_auth_signing_alg: Word | None = None
    jwks: dict[str, Any] | None = Field(default=None, description="public keys, for private_key_jwt")
    scope: Words = []
    resources: Words = []
    grant_types: Words = []
    introspects: Words = []
    profile: Word | None = None
    dpop_bound_access_tokens: bool = False
    jwks_uri: Word | None = None
    tls_client_certificate_bound_access_tokens: bool = False
    authorization_details_types: Words = []


class ClientChanges(CertificateName, In):
    """What of a client is to be another; members that are left out stay."""

    client_name: Label | None = None
    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, all of them; others are revoked")
    scope: Words | None = None
    resources: Words | None = None
    grant_types: Annotated[list[Word], Field(min_length=1, max_length=8)] | None = None
    introspects: Words | None = None
    dpop_bound_access_tokens: bool | None = None
    jwks_uri: Word | None = None
    tls_client_certificate_bound_access_tokens: bool | None = None
    authorization_details_types: Words | None = None
    profile: Word | None = None
    audience_policy: Literal[*assertion.AUDIENCE_POLICIES] | None = None  # type: ignore[valid-type]
    typ_policy: Literal[*assertion.TYP_POLICIES] | None = None  # type: ignore[valid-type]
    lifetime_policy: Literal[*assertion.LIFETIME_POLICIES] | None = None  # type: ignore[valid-type]
    jti_policy: Literal[*assertion.JTI_POLICIES] | None = None  # type: ignore[valid-type]
    observe: Rules = []
    enforce: Rules = []
    enabled: bool | None = None


class HeldKey(Out):
    """A key of a client: what it may do, how it was used, and whether it can go."""

    model_config = ConfigDict(extra="allow")

    kid: str
    thumbprint: str
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

    kid: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class KeyCompleted(KeyNamed):
    """The old key of a rotation, and for how many seconds it is still good."""

    overlap: Annotated[int, Field(ge=0, le=366 * 86_400)] = 0


class SecretNew(In):
    """A client's next secret: when the one before ends by itself, if nobody completes the rotation."""

    old_expires_at: Seconds | None = None


class SecretNamed(In):
    """One of a client's secrets."""

    id: Word


class InitialAccessToken(Out):
    """What lets clients register themselves (RFC 7591 section 3); never its text."""

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

    scope: Words = []
    resources: Words = []
    authorization_details_types: Words = []
    lifetime_seconds: Annotated[int, Field(ge=1, le=2**40)] = 86_400
    uses: Annotated[int, Field(ge=1, le=2**31)] = 1


class Api(Out):
    """An API that tokens are for."""

    identifier: str
    name: str
    scopes: list[str]
    is_default: bool
    created_at: int
    signing_alg: str | None
    authorization_details_types: list[str]


class ApiNew(In):
    """An API to be registered; the first one is the default unless it says otherwise."""

    identifier: Word
    name: Label
    scopes: Words = []
    is_default: bool | None = None
    signing_alg: Word | None = Field(default=None, description="where it is not the server's own choice")
    authorization_details_types: Words = []


class ApiChanges(In):
    """What of an API is to be another; members that are left out stay."""

    name: Label | None = None
    scopes: Words | None = None
    signing_alg: Word | None = Field(default=None, description="`default` for the server's own choice again")
    authorization_details_types: Words | None = None
    is_default: Literal[True] | None = Field(default=None, description="the default before it is none from then on")


class Grant(Out):
    """What a client may ask for at one API."""

    client_id: str
    resource: str
    scope: list[str]
    grant_types: list[str]
    enabled: bool


class RefreshToken(Out):
    """A refresh token that can still be used, by the line of tokens that it is the newest of; never its text."""

    family: str
    client_id: str
    scope: list[str]
    resource: list[str]
    issued_at: int
    idle_expires_at: int
    expires_at: int


class FoundToken(Out):
    """An access token of the last hour, as the audit log tells of it; `revoked` by whatever name, or with its keys."""

    jti: str
    client_id: str | None
    scope: str | None
    resource: str | None
    issued_at: float
    trace_id: str
    revoked: bool


class Revocation(Out):
    """Access tokens that were ended before their time."""

    kind: str
    value: str
    at: int
    until: int


class RevocationNew(In):
    """Tokens to be ended: one, a family, or those issued until now to a client, by its key, for an API, at all."""

    kind: Literal["jti", "family", "client", "key", "api", "all"]
    client_id: Annotated[Word | None, Field(description="whose key it is, for kind key")] = None
    value: Annotated[str, StringConstraints(max_length=512, pattern=r"^[!-~]*$")] = ""


class AuditRow(Out):
    """A record of the audit log, with its number."""

    number: int
    record: dict[str, Any]


class AuditHead(Out):
    """Where the log ends."""

    number: int
    link: str
    head: str


class Verification(Out):
    """Whether the log's chain holds, and where it ends or what is wrong first."""

    holds: bool
    number: int
    head: str | None = None
    message: str | None = None
    code: str | None = None
    trace_id: str | None = None


class Setting(Out):
    """A setting: its value, unless that holds a secret, and what set it."""

    name: str
    value: str | int | float | bool | None
    source: Literal["option", "environment", "file", "default"]
    description: str


class SigningKey(Out):
    """A key that signs access tokens; never its private part, not even sealed."""

    kid: str
    alg: str
    line: str | None
    state: str
    announced_at: int
    active_at: int
    retiring_at: int | None
    removed_at: int | None


class SigningKeyNew(In):
    """The next key: when it signs, and with what."""

    at_once: bool = Field(default=False, description="sign in a moment, without the days of announcement")
    alg: Word | None = Field(default=None, description="as before when left out")
    line: Word | None = Field(default=None, description="whose next key: of the APIs that have chosen this algorithm")


class RemovedSigningKey(Out):
    """What signs now that a key is gone."""

    kid: str
    state: Literal["removed"]
    signer: str | None
    alg: str | None


class Question(In):
    """A request to be explained: a curl line, a form, an HTTP request, a HAR entry, or the assertion alone."""

    request: Annotated[str, StringConstraints(min_length=1, max_length=60_000)]
    at: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = None


class Explanation(Out):
    """Rung by rung, why a request is refused or let through."""

    accepted: bool
    reason: str | None
    client_id: str | None
    at: float
    ladder: list[dict[str, Any]]
    fix: dict[str, Any] | None
    detail: str | None
    observed: list[str]


def page(item: type[Out]) -> Any:
    """The document of a list of these."""
    return type(f"{item.__name__}Page", (Out,), {"__annotations__": {"items": list[item], "next": str | None}})  # type: ignore[valid-type]
