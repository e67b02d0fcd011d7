"""APIs."""

from typing import Literal

from pydantic import Field

from affiant.oauth import names
from affiant.server.admin.documents.base import LIFETIME, In, Label, OnlyTrue, Out, TokenLifetime, Word, Words

Typ = Literal[*names.ACCESS_TOKEN_TYPES]  # type: ignore[valid-type]
TYP = "typ of its tokens: `JWT` is for a verifier that knows no at+jwt; the guard of affiant refuses such tokens"


class Api(Out):
    """An API that tokens are for."""

    identifier: str
    name: str
    scopes: list[str]
    is_default: bool
    created_at: int
    signing_alg: str | None
    authorization_details_types: list[str]
    access_token_lifetime: int | None
    access_token_typ: str


class ApiNew(In):
    """An API to be registered; the first one is the default unless it says otherwise."""

    identifier: Word
    name: Label
    scopes: Words = Field(default=[])
    is_default: bool | None = None
    signing_alg: Word | None = Field(default=None, description="where it is not the server's own choice")
    authorization_details_types: Words = Field(default=[])
    access_token_lifetime: TokenLifetime | None = Field(default=None, description=LIFETIME)
    access_token_typ: Typ | None = Field(default=None, description=TYP)


class ApiChanges(In):
    """Changes of an API; members that are left out stay."""

    name: Label | None = None
    scopes: Words | None = None
    signing_alg: Word | None = Field(default=None, description="`default` for the server's own choice again")
    authorization_details_types: Words | None = None
    access_token_lifetime: TokenLifetime | None = Field(default=None, description=LIFETIME)
    access_token_typ: Typ | None = Field(default=None, description=TYP)
    is_default: OnlyTrue | None = Field(default=None, description="the default before it is none from then on")
