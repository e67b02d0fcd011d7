"""The documents of the admin API: requests and answers. None has a member for a stored secret.

The members of clients and APIs come from the rows of registry/fields.py.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints

from affiant.server.admin.models import Checked, In, Out, shows, takes
from affiant.server.registry import fields, kinds
from affiant.server.registry.credentials import secrets
from affiant.server.registry.fields import By
from affiant.storage import records

# No control characters in names for people: a terminal would obey them, and PostgreSQL does not store all.
LABEL, WORD = r"^[^\x00-\x1f\x7f-\x9f]+$", r"^[!-~]+$"
Word = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=WORD)]
Seconds = Annotated[int, Field(ge=0, le=10**11, description="seconds since 1970")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=LABEL)]


class Problem(Out):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    trace_id: str


Identifier = Annotated[str, Checked(kinds.API)]


@shows(fields.API, records.Api)
class _ApiMembers(Out):
    identifier: str


class Api(_ApiMembers):
    """An API that tokens are for."""

    created_at: int


class UsedApi(Api):
    """An API with its use, which is not registered and does not change the ETag."""

    tokens_24h: int = Field(default=0, description="issued for it in 24 hours, the present one included")
    tokens_30d: int = Field(default=0, description="issued for it in 30 days (UTC), today included")


@takes(fields.API)
class ApiNew(In):
    """An API to be registered; the first one is the default unless it says otherwise."""

    identifier: Identifier
    name: Annotated[str, Checked(kinds.LABEL)]
    is_default: bool | None = None


@takes(fields.API)
class ApiChanges(In):
    """Changes of an API; members that are left out stay."""


ClientId = Annotated[str, Checked(kinds.CLIENT_ID)]
Rules = Annotated[list[str], Checked(kinds.RULES)]
Scope = Annotated[list[str], Checked(kinds.SCOPE)]
Apis = Annotated[list[str], Checked(kinds.APIS)]
Types = Annotated[list[str], Checked(kinds.TYPES)]
TeamName = Annotated[str, Checked(kinds.NAME)]
SecretId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{16,64}$"),
    Field(description="its id, by which the caller finds it if the answer is lost; a new one when left out"),
]
OwnKeys = Annotated[
    Literal["keep", "revoke"], Field(description="with jwks: whether keys that the client added itself stay")
]


class ClientKey(Out):
    """A public key of a client and its state; the thumbprint is that of RFC 7638."""

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
    """The id and lifetime of a client's secret, without the secret."""

    id: str
    created_at: int
    expires_at: int | None


@shows(fields.CLIENT, records.Client)
class _ClientMembers(Out):
    client_id: str


class Client(_ClientMembers):
    """A client, with the names of RFC 7591 section 2 where that has them."""

    registered_itself: bool
    created_at: int
    keys: list[ClientKey]
    secrets: list[ClientSecret]


class UsedClient(Client):
    """A client with its uses, which are not registered and do not change the ETag."""

    uses: int | None = Field(default=None, description="how often it authenticated, with all keys and secrets")
    last_used_at: int | None = None
    tokens_24h: int = Field(default=0, description="issued in 24 hours, the present one included")
    refusals_24h: int = Field(default=0, description="refused token requests in its name, proved or not")
    tokens_30d: int = Field(default=0, description="issued in 30 days (UTC), today included")
    refusals_30d: int = 0
    advice: str | None = Field(
        default=None, description="how to ask less often, for a client that asks for a token on every call"
    )
    over_budget: str | None = Field(
        default=None, description="that it asked for more tokens than its `token_budget`, in this hour or the last one"
    )


class ChangedClient(Client):
    """A client that was just registered or changed."""

    jwks_left_out: list[str] = Field(default=[], description="members of jwks that are not registered, and why")


class RegisteredClient(ChangedClient):
    """A client that was just registered, with its secret, which no later answer has."""

    client_secret: str | None = None


@takes(fields.CLIENT.by(By.NEW))
class ClientNew(In):
    """A client to be registered."""

    client_id: ClientId
    client_secret_id: SecretId | None = None
    client_secret: str | None = Field(
        default=None,
        max_length=secrets.LONGEST,
        repr=False,
        description="the secret that it has at another server; a new one when left out",
    )
    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, for methods by key")


@takes(fields.CLIENT.by(By.CHANGE))
class ClientChanges(In):
    """Changes of a client; members that are left out stay."""

    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, all of them; others are revoked")
    own_keys: OwnKeys = "revoke"
    enforce: Rules | None = Field(default=None, description="rules to be observed no longer; `observe` adds to them")


class HeldKey(Out):
    """A key of a client: its state, its uses, and whether it can be retired."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    kid: str
    thumbprint: str
    jwk: dict[str, Any]
    alg: str | None
    state: str
    created_at: int
    last_used_at: int | None
    use_count: int


class KeyNew(In):
    """A client's next key, in addition to the present ones."""

    jwk: dict[str, Any]
    not_before: Seconds = 0


class FetchedKey(Out):
    """A key at the jwks_uri of a client."""

    kid: str
    thumbprint: Annotated[str, Field(description="RFC 7638, SHA-256")]
    algorithms: list[str]


class FetchedKeys(Out):
    """The keys that this server process has from the jwks_uri of a client."""

    uri: Annotated[str | None, Field(description="null for a client without a jwks_uri")]
    fetched_at: Annotated[float | None, Field(description="seconds since 1970; null if they were never obtained")]
    keys: list[FetchedKey]
    left_out: Annotated[list[str], Field(description="members of the set that are not used, and why")]
    problem: Annotated[str | None, Field(description="why the last fetch failed")]


class KeyNamed(In):
    """One of a client's keys."""

    kid: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="its kid or its thumbprint; the thumbprint if a kid names several keys, ended ones included"
    )


class KeyCompleted(KeyNamed):
    """The old key of a rotation, and for how many seconds it stays valid."""

    overlap: Annotated[int, Field(ge=0, le=366 * 86_400)] = 0


class SecretNew(In):
    """A client's next secret, and when the old one ends if the rotation is not completed before."""

    id: SecretId | None = None
    old_expires_at: Seconds | None = None


class SecretNamed(In):
    """One of a client's secrets."""

    id: Word


class InitialAccessToken(Out):
    """An initial access token (RFC 7591 section 3), without its text."""

    id: str
    scope: list[str]
    resources: list[str]
    authorization_details_types: list[str]
    team: str | None
    created_at: int
    expires_at: int
    uses: int


class IssuedInitialAccessToken(InitialAccessToken):
    """A token that was just issued, with its text, which no later answer has."""

    initial_access_token: str


class InitialAccessTokenNew(In):
    """The number of clients that may register with it, their bounds, and its lifetime."""

    scope: Scope = Field(default=[])
    resources: Apis = Field(default=[])
    authorization_details_types: Types = Field(default=[])
    lifetime_seconds: Annotated[int, Field(ge=1, le=2**40)] = 86_400
    uses: Annotated[int, Field(ge=1, le=2**31)] = 1
    team: TeamName | None = Field(default=None, description="team of the clients that register with it")
    id: SecretId | None = None


class Grant(Out):
    """The scopes that a client may request for one API."""

    client_id: str
    resource: str
    scope: list[str]
    grant_types: list[str]
    enabled: bool


class RefreshToken(Out):
    """The newest refresh token of a family, without its text."""

    family: str
    client_id: str
    scope: list[str]
    resource: list[str]
    issued_at: int
    idle_expires_at: int
    expires_at: int


class FoundToken(Out):
    """An access token of the last hour, from the audit log; `revoked` by any revocation, or with its keys."""

    jti: str
    client_id: str | None
    scope: str | None
    resource: str | None
    issued_at: float
    trace_id: str
    revoked: bool
    revoked_by: str | None = Field(description="kind and value of the revocation that ends it; the newest of several")


class Revocation(Out):
    """A revocation of access tokens."""

    kind: str
    value: str
    at: int
    until: int


class RevocationNew(In):
    """Tokens to be revoked: one, a family, or all until now of a client, its key, task, rule or trust, or for an API.

    A rule is written as in its tokens: TRUST/RULE.
    """

    kind: Literal["jti", "family", "client", "key", "task", "rule", "trust", "api", "all"]
    client_id: Annotated[Word | None, Field(description="the client of the key or task, for these kinds")] = None
    value: Annotated[str, StringConstraints(max_length=512, pattern=r"^[!-~]*$")] = ""
    before: Seconds | None = Field(
        default=None, description="of client, rule, trust, api and all: tokens issued until then, and not until now"
    )


class AuditRow(Out):
    """A record of the audit log, with its number."""

    number: int
    record: dict[str, Any]


class AuditHead(Out):
    """The head of the audit log."""

    number: int
    link: str
    head: str


class Verification(Out):
    """Whether the chain is intact, and its head or its first fault."""

    holds: bool
    number: int
    head: str | None = None
    base: int = Field(default=0, description="number of the last record that is archived, before the log")
    message: str | None = None
    code: str | None = None
    trace_id: str | None = None


class Setting(Out):
    """A setting with its source; the value of a secret is left out."""

    name: str
    value: str | int | float | bool | None
    source: Literal["option", "environment", "file", "remembered", "default"]
    description: str


class Status(Out):
    """This node: its version, its time, and what keeps it from issuing tokens."""

    version: str
    issuer: str
    now: float = Field(description="its time, in seconds since 1970")
    clock_offset: float = Field(description="seconds by which its clock is ahead of the store's")
    obstacles: list[str] = Field(description="as /health reports them; empty if tokens can be issued")


class SigningKey(Out):
    """A key that signs access tokens, without its private part."""

    kid: str
    alg: str
    line: str | None
    state: str
    announced_at: int
    active_at: int
    retiring_at: int | None
    removed_at: int | None
    kms: str | None = Field(description="the name of the key in a KMS; null if the server made it")
    next_due_at: int | None = Field(
        description="when an operator should name the next key, if the last one is in a KMS; null in other cases"
    )


class SigningKeyNew(In):
    """The next key: its algorithm, and when it signs."""

    at_once: bool = Field(default=False, description="sign at once, without the days of announcement")
    alg: Word | None = Field(default=None, description="as before when left out")
    line: Word | None = Field(default=None, description="for the APIs that have chosen this algorithm")
    key: Word | None = Field(
        default=None,
        description="the name of a key in a KMS, such as `awskms:ARN`, or `new`: one that the server makes",
    )


class RemovedSigningKey(Out):
    """The key that signs after another was removed."""

    kid: str
    state: Literal["removed"]
    signer: str | None
    alg: str | None
    kms: str | None = Field(description="the name of the removed key in its KMS, which still has it")


class Question(In):
    """A request to be explained: a curl line, a form, an HTTP request, a HAR entry, or the assertion alone."""

    request: Annotated[str, StringConstraints(min_length=1, max_length=60_000)]
    at: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = None
    trust: Name | None = Field(default=None, description="that judges a platform's token, whatever its issuer is")


class TokenPreview(Out):
    """The access token that a client would get for one API, or why it would get none."""

    header: dict[str, str]
    claims: dict[str, Any] = Field(description="without those that are of one token alone: iat, exp, jti")
    lifetime: int = Field(description="seconds")
    refused: str | None = Field(description="the reason code")
    why: str | None


class Explanation(Out):
    """Step by step, why a request is refused or accepted."""

    accepted: bool
    reason: str | None
    client_id: str | None
    at: float
    what: str | None
    ladder: list[dict[str, Any]]
    fix: dict[str, Any] | None
    remedy: dict[str, Any] | None
    also: list[dict[str, Any]]
    detail: str | None
    trust: str | None = Field(description="that a platform's token belongs to")
    rules: list[dict[str, Any]] = Field(description="of that trust, compared with the token, the nearest first")
    granted: dict[str, Any] | None = Field(description="the access token that it would get, and what limits it")
    observed: list[str]


Role = Literal["viewer", "operator", "owner"]


class PlannedChange(In):
    """One planned request; `then` is a change right after a creation."""

    action: Literal["create", "update", "remove"]
    kind: Literal["api", "client", "trust", "rule", "team"]
    name: Name
    members: dict[str, Any] = Field(default_factory=dict)
    then: dict[str, Any] = Field(default_factory=dict)


class DryRun(In):
    """Changes in their order."""

    changes: Annotated[list[PlannedChange], Field(max_length=1000)]


class RefusedChange(Out):
    """A change that would be refused, and why."""

    action: str
    kind: str
    name: str
    reason: str
    title: str
    detail: str


class Judgement(Out):
    """The changes that would be refused, the role that all of them need, and the role of the caller."""

    refused: list[RefusedChange]
    needs: Role
    role: Role
