"""The file that says which APIs and clients there should be (TOML or JSON)."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from affiant.cli.output import warn_left_out
from affiant.cli.registry.client.certificates import key_of
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.oauth import assertion, names
from affiant.server.admin.documents.apis import TYP, Typ
from affiant.server.admin.documents.base import LIFETIME, OnlyTrue, TokenLifetime
from affiant.server.admin.documents.clients import Policies

MAX_BYTES = 4 << 20
KEEP, REVOKE = "keep", "revoke"
_SUBJECTS = tuple(f"tls_client_auth_{kind}" for kind in ("subject_dn", "san_dns", "san_uri", "san_ip", "san_email"))
_ONE_NAME = "for tls_client_auth, the one name that its certificate must have (RFC 8705 section 2.1.2)"
Word = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-~]+$")]


class _Entry(BaseModel):
    # An unknown member is a spelling mistake: ignored, its rule would not apply. Strict: "yes" is not true.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DesiredApi(_Entry):
    """An API; what is left out is not managed by this file."""

    identifier: Word = Field(description="its resource indicator (RFC 8707), an absolute URI")
    name: str | None = Field(default=None, description="what people call it; its identifier when left out")
    scopes: list[Word] | None = Field(default=None, description="every scope that it has")
    is_default: OnlyTrue | None = Field(default=None, description="whether tokens are for it unless they ask")
    signing_alg: Word | None = Field(
        default=None, description="what its tokens are signed with; `default` for the server's own choice"
    )
    authorization_details_types: list[Word] | None = Field(default=None, description="RFC 9396")
    access_token_lifetime: TokenLifetime | None = Field(default=None, description=LIFETIME)
    access_token_typ: Typ | None = Field(default=None, description=TYP)


class DesiredClient(Policies, _Entry):
    """A client, with the names of RFC 7591 section 2; what is left out is not managed by this file."""

    client_id: Word
    client_name: str | None = Field(default=None, description="what people call it")
    token_endpoint_auth_method: Word | None = Field(
        default=None,
        description="private_key_jwt when left out; once the client is registered, fixed but for client_secret_basic"
        " and client_secret_post, which can replace each other",
    )
    token_endpoint_auth_signing_alg: Word | None = Field(
        default=None, description="fixed once the client is registered"
    )
    public_keys: list[Word] | None = Field(
        default=None,
        description="files with its public keys (PEM, JWK, JWK Set, certificate), beside this file; all of them",
    )
    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, as a JWK Set; all of them")
    own_keys: Literal["keep", "revoke"] | None = Field(
        default=None,
        description="whether keys that the client added itself stay beside those of this file; `keep` when left out",
    )
    jwks_uri: Word | None = Field(default=None, description="where its public keys are fetched from instead")
    scope: list[Word] | None = Field(default=None, description="every scope that it may ask for")
    resources: list[Word] | None = Field(default=None, description="every API that it may ask for")
    grant_types: list[Word] | None = Field(default=None, min_length=1, description="client_credentials when left out")
    introspects: list[Word] | None = Field(default=None, description="the APIs that it speaks for")
    authorization_details_types: list[Word] | None = Field(default=None, description="RFC 9396")
    tls_client_auth_subject_dn: str | None = Field(default=None, min_length=1, description=_ONE_NAME)
    tls_client_auth_san_dns: str | None = Field(default=None, min_length=1, description="likewise")
    tls_client_auth_san_uri: str | None = Field(default=None, min_length=1, description="likewise")
    tls_client_auth_san_ip: str | None = Field(default=None, min_length=1, description="likewise")
    tls_client_auth_san_email: str | None = Field(default=None, min_length=1, description="likewise")
    tls_client_certificate_bound_access_tokens: bool | None = None
    profile: Word | None = Field(default=None, description="what else it is held to, or allowed; `none` for nothing")
    dpop_bound_access_tokens: bool | None = None
    observe: list[Literal[*assertion.RULES]] | None = Field(  # type: ignore[valid-type]
        default=None, description="every rule whose breach is recorded and let through"
    )
    enabled: bool | None = None


class Desired(_Entry):
    """What should be registered."""

    apis: list[DesiredApi] = []
    clients: list[DesiredClient] = []


def read(path: Path) -> Desired:
    """What the file says, with the keys of the files that it names in the place of their names."""
    document = _document(path)
    document.pop("$schema", None) if isinstance(document, dict) else None
    try:
        desired = Desired.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(map(_mistake, error.errors()))) from None
    _check_unique(path, "identifier", [api.identifier for api in desired.apis])
    _check_unique(path, "client_id", [client.client_id for client in desired.clients])
    if sum(api.is_default is not None for api in desired.apis) > 1:
        raise ConfigError(f"{path}: one API can be the default, not several")
    clients = [_with_keys(client, path) for client in desired.clients]
    return desired.model_copy(update={"clients": clients})


def _document(path: Path) -> Any:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        if path.suffix == ".json":
            return json.loads(raw)
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path} is not {kind}: {error}") from error


def _mistake(found: Any) -> str:
    where = ".".join(str(part + 1) if isinstance(part, int) else part for part in found["loc"])
    return f"{where}: {'no such member' if found['type'] == 'extra_forbidden' else found['msg']}"


def _check_unique(path: Path, member: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ConfigError(f"{path}: one {member} stands there twice: {', '.join(twice)}")


def _with_keys(client: DesiredClient, path: Path) -> DesiredClient:
    given = [name for name in ("public_keys", "jwks", "jwks_uri") if getattr(client, name) is not None]
    named = [name for name in _SUBJECTS if getattr(client, name) is not None]
    if len(given) > 1 or len(named) > 1:
        one_of = " and ".join(given if len(given) > 1 else named)
        raise ConfigError(f"{path}: client {client.client_id}: give one of {one_of}")
    try:
        if client.jwks is not None:
            found = _told(KeySet.parse_given(client.jwks), f"{path}: client {client.client_id}")
        elif client.public_keys is not None:
            found = tuple(key for name in client.public_keys for key in _read_keys(path.parent / name, client))
            if len({(key.thumbprint, key.kid, key.alg) for key in found}) != len(found):
                raise ConfigError("public_keys names a key twice")
        else:
            return client
    except ConfigError as error:
        raise ConfigError(f"{path}: client {client.client_id}: {error}") from error
    return client.model_copy(update={"jwks": KeySet(found).to_jwks(), "public_keys": None})


def _read_keys(file: Path, client: DesiredClient) -> tuple[keys.PublicKey, ...]:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    if b"BEGIN CERTIFICATE" in text:
        return (key_of(file),)
    if not text.lstrip().startswith(b"{"):
        return (keys.parse_public_pem(text, alg=client.token_endpoint_auth_signing_alg),)
    try:
        document = json.loads(text)
    except ValueError:
        raise ConfigError(f"{file} is not JSON") from None
    if "keys" in document:
        return _told(KeySet.parse_given(document), file)
    return (keys.parse_public_jwk(document),)


def _told(found: KeySet, where: object) -> tuple[keys.PublicKey, ...]:
    warn_left_out(where, found.left_out)
    return found.keys


def default_method(client: DesiredClient) -> str:
    """How a client authenticates when its entry does not say."""
    return client.token_endpoint_auth_method or names.PRIVATE_KEY_JWT
