"""Documents about tokens, and requests for them."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from affiant.server.admin.documents.words import Name, Seconds, Word
from affiant.server.admin.models import In, Out


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
