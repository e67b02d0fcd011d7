"""Documents about what clients authenticate with, and register with."""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, StringConstraints

from affiant.server.admin.documents.words import Apis, Scope, Seconds, SecretId, TeamName, Types, Word
from affiant.server.admin.models import In, Out


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
