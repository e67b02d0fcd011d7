"""The formats of exports, and their detection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affiant.cli.registry.importing import auth0, hydra, keycloak, reading, table
from affiant.cli.registry.importing.entry import Export
from affiant.errors import ConfigError

SOURCES = ("keycloak", "hydra", "auth0", "csv")
_OF_AUTH0 = frozenset({"app_type", "client_authentication_methods", "jwt_configuration", "is_first_party"})


def read(path: Path, source: str | None, *, auth: str) -> Export:
    """Return the clients of an export; detect its source if none is given."""
    if source == "csv" or (source is None and path.suffix.lower() == ".csv"):
        return table.read(path, auth=auth)
    document = auth0.read_folder(path) if path.is_dir() else reading.read_json(path)
    found = source or _find(document)
    if not isinstance(document, dict | list):
        raise ConfigError(f"{path} is no export: it is neither an object nor a list")
    if found == "keycloak":
        return keycloak.read(document, auth=auth)
    if found == "auth0":
        return auth0.read(document, auth=auth)
    if found == "hydra":
        return hydra.read(document)
    raise ConfigError(f"{path} is of no known source: name it with --from {'|'.join(SOURCES)}")


def _find(document: Any) -> str | None:
    """Return the source by members that only it has."""
    listed = document
    if isinstance(document, dict):
        listed = next((document[name] for name in ("clients", "items") if name in document), document)
    first = next(iter(listed), None) if isinstance(listed, list) else listed
    if not isinstance(first, Mapping):
        return None
    if "clientId" in first:
        return "keycloak"
    if _OF_AUTH0 & first.keys():
        return "auth0"
    return "hydra" if {"client_id", "grant_types"} <= first.keys() else None
