"""Clients of Auth0: an export of its deploy CLI, or lists of its management API in one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from affiant.cli.registry.importing import credentials, reading
from affiant.cli.registry.importing.entry import Entry, Export, Skipped, judge
from affiant.errors import ConfigError
from affiant.oauth import names

_PUBLIC = {"spa": "a single-page application", "native": "a native application"}
_FOLDERS = {"clients": "clients", "clientGrants": "grants", "resourceServers": "resource-servers"}
_MANAGEMENT = "/api/v2/"  # the end of the identifier of every tenant's own API


def read_folder(folder: Path) -> dict[str, Any]:
    """Return the export of `a0deploy export --format directory` as one document."""
    return {
        member: [reading.read_json(path) for path in sorted((folder / name).glob("*.json"))]
        for member, name in _FOLDERS.items()
    }


def read(document: Any, *, auth: str) -> Export:
    """Return the clients of an export; `auth` is how those send their secrets whose method it does not have."""
    tenant = {"clients": document} if isinstance(document, list) else document
    grants = _either(tenant, "clientGrants", "client_grants")
    servers = _either(tenant, "resourceServers", "resource_servers")
    apis = {reading.text(one, "identifier"): _scopes(one) for one in servers}
    clients = reading.objects(tenant, "clients")
    entries = judge(clients, lambda one: _client(one, grants, auth), name=_name)
    own = tuple(name for name in apis if name.endswith(_MANAGEMENT))
    return Export("auth0", entries, {name: scopes for name, scopes in apis.items() if name not in own})


def _either(tenant: Mapping[str, Any], *members: str) -> list[dict[str, Any]]:
    """Return the list that the deploy CLI and the management API name differently."""
    return [one for member in members for one in reading.objects(tenant, member)]


def _scopes(server: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(reading.text(one, "value") for one in reading.objects(server, "scopes"))


def _name(found: Mapping[str, Any]) -> str:
    return reading.name_of(found, "client_id" if found.get("client_id") else "name")


def _client(found: Mapping[str, Any], grants: list[dict[str, Any]], auth: str) -> Entry:
    _check_kind(found)
    name, client_id = reading.text(found, "name"), reading.text(found, "client_id")
    if not client_id:
        raise ConfigError("its client_id is not in the export: export with AUTH0_EXPORT_IDENTIFIERS=true")
    # The deploy CLI writes the name of the client into its grants.
    own = [one for one in grants if reading.text(one, "client_id") in (client_id, name)]
    kept = [one for one in own if not reading.text(one, "audience").endswith(_MANAGEMENT)]
    if own and not kept:
        raise Skipped("its only grant is for the management API of Auth0")
    members: dict[str, Any] = {"client_id": client_id, **({"client_name": name} if name else {})}
    members["scope"] = sorted({scope for one in kept for scope in reading.texts(one, "scope")})
    members["resources"] = sorted({reading.text(one, "audience") for one in kept})
    more, secret, changes = _credential(found, auth)
    entry = Entry(client_id, {**members, **more}, secret).noting(*changes)
    return entry.noting(*_changes(found, kept, has_management=len(kept) < len(own)))


def _check_kind(found: Mapping[str, Any]) -> None:
    app_type = reading.text(found, "app_type")
    if found.get("global") is True:
        raise Skipped("it is the tenant's own client for all applications")
    if app_type in _PUBLIC:
        raise Skipped(f"it is {_PUBLIC[app_type]}: a public client has no credential")
    grants = reading.texts(found, "grant_types")
    if (grants or app_type != "non_interactive") and names.CLIENT_CREDENTIALS not in grants:
        raise Skipped("it has no client_credentials: it signs people in")
    if reading.text(found, "token_endpoint_auth_method") == "none":
        raise Skipped("it is a public client: it has no credential")


def _credential(found: Mapping[str, Any], auth: str) -> tuple[dict[str, Any], str | None, list[str]]:
    methods = reading.mapping(found, "client_authentication_methods")
    if reading.mapping(methods, names.SELF_SIGNED_TLS_CLIENT_AUTH):
        raise ConfigError(
            f"Auth0 exports no certificate: affiant client new --auth {names.SELF_SIGNED_TLS_CLIENT_AUTH}"
        )
    for method, build in _MEMBERS.items():
        if held := reading.objects(reading.mapping(methods, method), "credentials"):
            return {"token_endpoint_auth_method": method, **build(held)}, None, []
    method = reading.text(found, "token_endpoint_auth_method") or auth
    secret = reading.text(found, "client_secret")
    changes = [] if secret else ["its secret is not in the export: it gets a new one"]
    return {"token_endpoint_auth_method": method}, secret or None, changes


def _keys(held: list[dict[str, Any]]) -> dict[str, Any]:
    parts = [
        credentials.from_pem(pem, kid=reading.text(one, "kid"), alg=reading.text(one, "alg"))
        for one in held
        if (pem := reading.text(one, "pem"))
    ]
    if len(parts) < len(held):
        raise ConfigError("the PEM of its public key is not in the export: add it as `pem`, next to the key's `id`")
    return credentials.joined(parts)


def _subject(held: list[dict[str, Any]]) -> dict[str, Any]:
    subjects = [reading.text(one, "subject_dn") for one in held]
    if len(subjects) != 1 or not subjects[0]:
        raise ConfigError("it needs one credential with a subject_dn: affiant client new NAME --tls-subject-dn DN")
    return {"tls_client_auth_subject_dn": subjects[0]}


_MEMBERS = {names.PRIVATE_KEY_JWT: _keys, names.TLS_CLIENT_AUTH: _subject}


def _changes(found: Mapping[str, Any], kept: list[dict[str, Any]], *, has_management: bool) -> Iterator[str]:
    if has_management:
        yield "its grant for the management API of Auth0 stays there"
    if len(kept) > 1:
        yield "its grants for several APIs are one list of scopes here: an API gives only the scopes that it has"
    if {"authorization_code", "implicit", "password"} & set(reading.texts(found, "grant_types")):
        yield "its sign-in of people stays with Auth0"
