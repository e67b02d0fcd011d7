"""Documents about APIs and clients; the rows of registry/fields.py have their members."""

from typing import Annotated, Any

from pydantic import Field

from affiant.server.admin.documents.credentials import ClientKey, ClientSecret
from affiant.server.admin.documents.words import ClientId, Identifier, OwnKeys, Rules, SecretId
from affiant.server.admin.models import Checked, In, Out, shows, takes
from affiant.server.registry import fields, kinds
from affiant.server.registry.credentials import secrets
from affiant.server.registry.fields import By
from affiant.storage import records


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
