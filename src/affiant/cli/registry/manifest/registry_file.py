"""The file of `affiant apply`: the teams, APIs, clients, trusts and rules that are to be registered (TOML or JSON)."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, ValidationError

from affiant.cli.registry import public_keys
from affiant.errors import ConfigError
from affiant.jose.key_set import KeySet
from affiant.oauth import names
from affiant.server.admin.documents import ClientId, Identifier, OwnKeys, Word
from affiant.server.admin.models import In, takes
from affiant.server.admin.routes.federation.documents import Issuer, Name
from affiant.server.registry import fields
from affiant.server.registry.federation import fields as fields_of_federation
from affiant.server.registry.federation.trusts import SOURCES
from affiant.server.registry.fields import By

MAX_BYTES = 4 << 20
SCHEMA_ID = "urn:affiant:registry"
KEEP, REVOKE = "keep", "revoke"


class _Entry(In):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    def members(self) -> dict[str, Any]:
        """Return the members that the file gives."""
        return self.model_dump(exclude_none=True)


@takes(fields.TEAM)
class DesiredTeam(_Entry):
    """A team; what is left out is not managed by this file."""

    name: Name


@takes(fields.API)
class DesiredApi(_Entry):
    """An API; what is left out is not managed by this file."""

    identifier: Identifier = Field(description="its resource indicator (RFC 8707), an absolute URI")


@takes(fields.CLIENT.by(By.OPERATOR))
class DesiredClient(_Entry):
    """A client, with the names of RFC 7591 section 2; what is left out is not managed by this file."""

    client_id: ClientId
    public_keys: list[Word] | None = Field(
        default=None,
        description="files with its public keys (PEM, JWK, JWK Set, certificate), relative to this file; all of them",
    )
    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, as a JWK Set; all of them")
    own_keys: OwnKeys | None = Field(
        default=None,
        description="whether keys that the client added itself stay with those of this file; `keep` when left out",
    )

    @property
    def auth_method(self) -> str:
        return str(self.members().get("token_endpoint_auth_method", names.PRIVATE_KEY_JWT))


@takes(fields_of_federation.TRUST.by(By.OPERATOR))
class DesiredTrust(_Entry):
    """A trust, an issuer whose tokens identify workloads; what is left out is not managed by this file."""

    name: Name
    issuer: Issuer
    jwks_file: Word | None = Field(default=None, description="file with its JWK Set, relative to this file")
    ca_file: Word | None = Field(
        default=None, description="file with PEM certificates, relative to this file, instead of `ca`"
    )


@takes(fields_of_federation.RULE.by(By.OPERATOR))
class DesiredRule(_Entry):
    """A rule, which gives a client to workloads of a trust; what is left out is not managed by this file."""

    name: Name
    trust: Name
    client_id: ClientId


class Desired(_Entry):
    """The teams, APIs, clients, trusts and rules that are to be registered."""

    teams: list[DesiredTeam] = Field(default=[])
    apis: list[DesiredApi] = Field(default=[])
    clients: list[DesiredClient] = Field(default=[])
    trusts: list[DesiredTrust] = Field(default=[])
    rules: list[DesiredRule] = Field(default=[])


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file. The server refuses what it refuses, and may refuse more."""
    made = Desired.model_json_schema()
    made["properties"]["$schema"] = {"type": "string", "description": "URL of this schema, for the editor"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **made}


def read(path: Path) -> Desired:
    """Return the content of the file, with public keys instead of the names of their files.

    Raises ConfigError with every mistake in one message.
    """
    document = _document(path)
    if isinstance(document, dict):
        document.pop("$schema", None)
    try:
        desired = Desired.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(map(mistake, error.errors()))) from None
    _check_unique(path, "name of a team", [team.name for team in desired.teams])
    _check_unique(path, "identifier", [api.identifier for api in desired.apis])
    _check_unique(path, "client_id", [client.client_id for client in desired.clients])
    _check_unique(path, "name of a trust", [trust.name for trust in desired.trusts])
    _check_unique(path, "name of a rule", [rule.name for rule in desired.rules])
    if sum("is_default" in api.members() for api in desired.apis) > 1:
        raise ConfigError(f"{path}: only one API can be the default")
    clients = [_with_keys(client, path) for client in desired.clients]
    trusts = [_with_files(trust, path) for trust in desired.trusts]
    return desired.model_copy(update={"clients": clients, "trusts": trusts})


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


def mistake(found: Any) -> str:
    """Return what is wrong with a member, and where; its value is not repeated."""
    where = ".".join(str(part + 1) if isinstance(part, int) else part for part in found["loc"])
    return f"{where}: {'no such member' if found['type'] == 'extra_forbidden' else found['msg']}"


def _check_unique(path: Path, member: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ConfigError(f"{path}: {member} is repeated: {', '.join(repeated)}")


def _with_keys(client: DesiredClient, path: Path) -> DesiredClient:
    where, members = f"{path}: client {client.client_id}", client.members()
    names_of_keys = ("public_keys", "jwks", "jwks_uri")
    names_of_certificate = [row.name for row in fields.CLIENT if isinstance(row, fields.SubjectName)]
    for alternatives in (names_of_keys, names_of_certificate):
        given = [name for name in alternatives if name in members]
        if len(given) > 1:
            raise ConfigError(f"{where}: give one of {' and '.join(given)}")
    try:
        if client.jwks is not None:
            found = public_keys.parse_set(client.jwks, where)
        elif client.public_keys is not None:
            alg = members.get("token_endpoint_auth_signing_alg")
            files = [path.parent / name for name in client.public_keys]
            found = tuple(key for file in files for key in public_keys.read(file, alg=alg))
            if len({(key.thumbprint, key.kid, key.alg) for key in found}) != len(found):
                raise ConfigError("public_keys names a key twice")
        else:
            return client
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return client.model_copy(update={"jwks": KeySet(found).to_jwks(), "public_keys": None})


def _with_files(trust: DesiredTrust, path: Path) -> DesiredTrust:
    """Return the trust with the content of the files that it names."""
    where, members = f"{path}: trust {trust.name}", trust.members()
    for alternatives in ((*SOURCES, "jwks_file"), ("ca", "ca_file")):
        given = [name for name in alternatives if name in members]
        if len(given) > 1:
            raise ConfigError(f"{where}: give one of {' and '.join(given)}")
    try:
        if trust.jwks_file is not None:
            members["jwks"] = json.loads(_read_text(path.parent / trust.jwks_file))
        if trust.ca_file is not None:
            members["ca"] = _read_text(path.parent / trust.ca_file)
        left = {name: value for name, value in members.items() if name not in ("jwks_file", "ca_file")}
        return DesiredTrust.model_validate(left)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(map(mistake, error.errors()))) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: {trust.jwks_file} is not JSON") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from error
