"""Tokens, revocations, the audit log, settings, signing keys and explanations."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from affiant.server.admin.documents.base import In, Out, Word


class Grant(Out):
    """The scopes that a client may ask for at one API."""

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
    source: Literal["option", "environment", "file", "remembered", "default"]
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
    """The key that signs after another was removed."""

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
    what: str | None
    ladder: list[dict[str, Any]]
    fix: dict[str, Any] | None
    remedy: dict[str, Any] | None
    also: list[dict[str, Any]]
    detail: str | None
    observed: list[str]
