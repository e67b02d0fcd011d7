"""Clients, their keys and secrets, and initial access tokens."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from affiant.server.admin.documents.base import Checked, In, Out, Seconds, Word, shows, takes
from affiant.server.registry import fields, kinds
from affiant.server.registry.fields import By
from affiant.storage import records

ClientId = Annotated[str, Checked(kinds.CLIENT_ID)]
Rules = Annotated[list[str], Checked(kinds.RULES)]
Scope = Annotated[list[str], Checked(kinds.SCOPE)]
Apis = Annotated[list[str], Checked(kinds.APIS)]
Types = Annotated[list[str], Checked(kinds.TYPES)]
SecretId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{16,64}$"),
    Field(description="its id, by which the caller finds it if the answer is lost; a new one when left out"),
]
OwnKeys = Annotated[
    Literal["keep", "revoke"], Field(description="with jwks: whether keys that the client added itself stay")
]


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


@shows(fields.CLIENT, records.Client)
class _Members(Out):
    client_id: str


class Client(_Members):
    """A client, with the names of RFC 7591 section 2 where that has them."""

    registered_itself: bool
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


@takes(fields.CLIENT.by(By.NEW))
class ClientNew(In):
    """A client to be registered."""

    client_id: ClientId
    client_secret_id: SecretId | None = None
    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, for methods by key")


@takes(fields.CLIENT.by(By.CHANGE))
class ClientChanges(In):
    """Changes of a client; members that are left out stay."""

    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, all of them; others are revoked")
    own_keys: OwnKeys = "revoke"
    enforce: Rules | None = Field(default=None, description="rules to be observed no longer; `observe` adds to them")


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

    scope: Scope = Field(default=[])
    resources: Apis = Field(default=[])
    authorization_details_types: Types = Field(default=[])
    lifetime_seconds: Annotated[int, Field(ge=1, le=2**40)] = 86_400
    uses: Annotated[int, Field(ge=1, le=2**31)] = 1
    id: SecretId | None = None
